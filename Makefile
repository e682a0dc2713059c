# Every verb a person needs. Settings pass through: make run CHAT_PORT=8000
# Works with GNU make 3.81, which macOS ships.

PYTHON_HERE = .venv/bin/python
# worksteal: neighbours stay together, so that what they share (a browser, an emulator, a deployment) is made once or twice.
PYTEST = $(PYTHON_HERE) -m pytest -n auto --dist worksteal
IMAGE = hybrid-chat
# The stack of Pulumi that up, preview, destroy, url and doctor mean; ARGS goes to Pulumi itself.
STACK ?= dev
ARGS ?=
export STACK

# The workers of a test run, and the processes they start, take what one of them has compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run up preview url destroy doctor test quick check audit format bench screenshots image pins clean chat dev stack

help: # Spaces between the verb and its line; a comment with two hashes is a line of this list.
	@echo "make VERB, where VERB is"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r verb line; do printf '  %-11s %s\n' "$$verb" "$$line"; done

# exec: Ctrl-C and a kill reach the chat itself, which ends well, so that make has nothing to say.
run: chat ## start the chat (the first time: install it)
	@exec $(PYTHON_HERE) -m chatapp

up: ## put the chat on your cloud, or bring it up to date (STACK=dev ARGS=--yes)
	@sh stacks/tools.sh up && sh requirements/install.sh stack && exec pulumi up --stack "$$STACK" $(ARGS)

preview: ## show what up would change
	@sh stacks/tools.sh preview && sh requirements/install.sh stack && exec pulumi preview --stack "$$STACK" $(ARGS)

url: ## print the address of the chat that up made
	@sh stacks/tools.sh url

destroy: ## take away what up made, the chats too
	@sh stacks/tools.sh destroy && exec pulumi destroy --stack "$$STACK" $(ARGS)

doctor: ## say what run and up need here, and what of it is missing
	@sh stacks/tools.sh doctor

test: check ## check the code and run every test
	$(PYTEST)

# One worker more than cores: many fast tests wait for a clock or a process.
quick: check ## check the code and run the fast tests
	$(PYTEST) -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) -m 'not vllm and not engine and not browser and not slow'

check: dev ## lint, formatting, types and the direction of imports
	$(PYTHON_HERE) -m ruff check
	$(PYTHON_HERE) -m ruff format --check
	$(PYTHON_HERE) -m mypy
	PYTHONPATH=. .venv/bin/lint-imports --no-cache

# Strict: what cannot be asked about is a failure, where pip-audit itself would say that nothing is known.
audit: dev ## ask PyPI whether what is pinned has known vulnerabilities (ARGS="--vulnerability-service osv")
	$(PYTHON_HERE) -m pip_audit --strict --disable-pip --progress-spinner off \
		--requirement requirements/dev.txt --requirement requirements/embedded.txt $(ARGS)

format: dev ## format the code and mend what the linter can mend
	$(PYTHON_HERE) -m ruff check --fix
	$(PYTHON_HERE) -m ruff format

bench: dev ## measure what the chat costs
	@for script in benchmarks/[a-z]*.py; do \
		echo "$$script"; $(PYTHON_HERE) -m "benchmarks.$$(basename "$$script" .py)" || exit 1; echo; \
	done

screenshots: dev ## take the pictures of docs/images again
	$(PYTHON_HERE) -m tests.browser.screenshots

image: ## build the chat's container image (IMAGE=name:tag)
	@command -v docker >/dev/null || { echo "Building the image needs Docker, which is not installed." >&2; exit 1; }
	@docker version >/dev/null 2>&1 || { echo "Docker is installed, but its engine does not answer: start it." >&2; exit 1; }
	docker build --file chatapp/Dockerfile --tag $(IMAGE) .

pins: chat ## compile the pinned versions again (PINS=--upgrade for newer ones)
	@sh requirements/compile.sh $(PINS)

clean: ## remove what was installed and cached here (not the chats)
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find chatapp stacks tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# What the verbs need, installed when it is missing or its pins changed.
chat dev stack:
	@sh requirements/install.sh $@
