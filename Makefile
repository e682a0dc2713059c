# Every verb a person needs. Settings pass through: make run CHAT_PORT=8000
# Works with GNU make 3.81, which macOS ships.

PYTHON_HERE = .venv/bin/python
# worksteal keeps the tests of a file on one worker, so that their fixtures (a browser, an emulator) start once or twice.
# One worker more than cores: half of the time, tests wait for a clock or a process.
PYTEST = $(PYTHON_HERE) -m pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist worksteal
# Tests that need a server of their own run only when they are selected.
HERE = not vllm and not engine
PREFLIGHT = $(PYTHON_HERE) -m stacks.preflight
# make -n runs every recipe that names $(MAKE) itself.
THIS_MAKE := $(MAKE)
IMAGE = hybrid-chat
# The Pulumi stack of up, preview, destroy, url, doctor and cost. ARGS goes to Pulumi.
STACK ?= dev
ARGS ?=
export STACK

# The workers of a test run, and the processes that they start, share their bytecode.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run gemma status import backup restore up preview url destroy doctor cost test quick long engine check sbom audit format bench screenshots settings image pins clean chat dev stack

help: # A comment with two hashes is a line of this list.
	@echo "make VERB, where VERB is"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r verb line; do printf '  %-11s %s\n' "$$verb" "$$line"; done

# exec: signals reach the chat itself, which shuts down gracefully, so that make reports no error.
run: chat ## start the chat (the first time, install it)
	@exec $(PYTHON_HERE) -m chatapp

status: chat ## print the state of each model, as the page shows it
	@exec $(PYTHON_HERE) -m chatapp.server.status

# The check comes first: vLLM is 6 GB to download, and of no use without a fitting GPU. ARGS="--port 8001"
gemma: chat ## serve Gemma on this computer's NVIDIA GPU, for make run (the first time, install vLLM)
	@$(PYTHON_HERE) -m gemma check $(ARGS) && sh requirements/install.sh vllm && exec $(PYTHON_HERE) -m gemma serve $(ARGS)

# FILE reaches the command through the environment: the shell parses no part of a name.
export FILE
import: chat ## import conversations of another chat (FILE=export.zip ARGS=--dry-run)
	@exec $(PYTHON_HERE) -m chatapp.imports $(ARGS) -- "$$FILE"

backup: chat ## back up the history (FILE=backup.zip ARGS=--with-secrets), also while the chat runs
	@exec $(PYTHON_HERE) -m chatapp.backup $(ARGS) -- "$$FILE"

restore: chat ## restore a backup (FILE=backup.zip); stop the chat first
	@exec $(PYTHON_HERE) -m chatapp.backup.restore -- "$$FILE"

up: stack ## deploy the chat, or update the deployment (STACK=dev ARGS=--yes)
	@$(PREFLIGHT) up && exec pulumi up --stack "$$STACK" $(ARGS)

preview: stack ## show what up would change
	@$(PREFLIGHT) preview && exec pulumi preview --stack "$$STACK" $(ARGS)

url: stack ## print the address of the deployed chat
	@exec $(PREFLIGHT) url

# Afterwards it lists what of the stack is still in the project, also where Pulumi failed, and never fails itself.
destroy: stack ## delete the deployment and all its chats
	@$(PREFLIGHT) destroy && { pulumi destroy --stack "$$STACK" $(ARGS); status=$$?; $(PREFLIGHT) remains || :; exit $$status; }

# It installs the packages of the stack first, and reads the settings with them. Without them it could report the wrong
# things: whether the chat goes to Google Cloud or to another cluster is a setting.
doctor: stack ## check what run and up need on this computer (ARGS=--json)
	@exec $(PREFLIGHT) doctor $(ARGS)

cost: stack ## estimate what the deployment costs, by part (ARGS=--json)
	@exec $(PREFLIGHT) cost $(ARGS)

test: dev ## check the code and run all tests but the long ones
	$(call with-checks,$(PYTEST))

quick: dev ## check the code and run the fast tests
	$(call with-checks,$(PYTEST) --ignore=tests/browser -m '$(HERE) and not browser and not slow and not long')

# The dearest test, of faults, waits for two thirds of its time: the third worker takes the core that it leaves.
long: dev ## run the tests that take minutes
	$(PYTEST) -m '$(HERE) and long'

# It takes an hour where it has to build an API server (ARGS=--dry-run shows the steps).
engine: dev ## run the tests with a real API server and Pulumi's engine, and get what they need
	@exec $(PYTHON_HERE) -m tests.stacks.engine_setup $(ARGS)

# $(call with-checks,COMMAND): run COMMAND and `make check` in parallel, and fail if either failed. The output of the
# checks comes last, and only if they failed: the last lines of the output name what to mend.
define with-checks
@log=$$(mktemp) || exit 1; trap 'rm -f "$$log"' EXIT; \
{ $(THIS_MAKE) --no-print-directory check >"$$log" 2>&1 || { echo "make check failed: see below the tests."; exit 1; }; } & \
$(1); tests=$$?; \
wait $$!; checks=$$?; \
if [ $$checks = 0 ]; then echo "make check passed."; else echo; cat "$$log"; fi; \
[ $$tests = 0 ] && [ $$checks = 0 ]
endef

check: dev ## lint, formatting, types and the direction of imports
	$(PYTHON_HERE) -m ruff check
	$(PYTHON_HERE) -m ruff format --check
	$(PYTHON_HERE) -m mypy
	.venv/bin/lint-imports --no-cache --no-logo

sbom: dev ## write the software bill of materials, sbom.cdx.json (CycloneDX)
	$(PYTHON_HERE) requirements/sbom.py

# Strict: without it, pip-audit reports no vulnerabilities for packages that it cannot look up.
audit: dev ## look up known vulnerabilities of the pinned packages (ARGS="--vulnerability-service osv")
	$(PYTHON_HERE) -m pip_audit --strict --disable-pip --progress-spinner off \
		--requirement requirements/dev.txt --requirement requirements/embedded.txt $(ARGS)
	$(PYTHON_HERE) requirements/sbom.py --audit

format: dev ## format the code and apply the linter's fixes
	$(PYTHON_HERE) -m ruff check --fix
	$(PYTHON_HERE) -m ruff format

bench: dev ## run the benchmarks
	@for script in benchmarks/[a-z]*.py; do \
		echo "$$script"; $(PYTHON_HERE) -m "benchmarks.$$(basename "$$script" .py)" || exit 1; echo; \
	done

screenshots: dev ## take the screenshots in docs/images again
	$(PYTHON_HERE) -m tests.browser.screenshots

settings: dev ## write docs/settings.md from the settings classes
	$(PYTHON_HERE) -m chatapp.config.settings_doc

image: ## build the chat's container image (IMAGE=name:tag)
	@command -v docker >/dev/null || { echo "Building the image needs Docker, which is not installed." >&2; exit 1; }
	@docker version >/dev/null 2>&1 || { echo "Docker is installed, but its engine is not running: start it." >&2; exit 1; }
	docker build --file chatapp/Dockerfile --tag $(IMAGE) .

pins: chat ## compile the pinned versions again (PINS=--upgrade for the newest)
	@sh requirements/compile.sh $(PINS)

clean: ## remove .venv and the caches (not the chats)
	rm -rf .venv .venv-vllm .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find chatapp gemma requirements stacks tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The packages of the verbs, installed if they are missing or their pins changed.
chat dev stack:
	@sh requirements/install.sh $@
