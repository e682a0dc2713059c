(_, length) => [new URLSearchParams(location.search).get("c") || "", length, sessionStorage.getItem("draft") || ""]
