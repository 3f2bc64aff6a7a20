# Two commands do all the set-up: `make demo` and `make test`. Needs Python >= 3.11, git and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOCK   := requirements/all.txt
NODE_STAMP := tests/node/node_modules/.package-lock.json

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# numpy's BLAS threads spin: one is enough for everything here and keeps measurements honest.
export OPENBLAS_NUM_THREADS = 1
# Tests wait for real servers as much as they compute, so four workers pay even on two cores. SPREAD= runs them in one.
SPREAD ?= -n 4 --dist loadscope --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install lock demo test test-full lint typecheck contracts format system-deps node-deps deploy-tools bench-deps sdk-deps sdks clean deploy image stack stack-down \
        bench bench-admission bench-roles bench-ledger bench-kills bench-durability bench-pages bench-audit bench-cost bench-ingest bench-tick bench-memory bench-server bench-postgres bench-store bench-detection bench-calendar bench-forecast bench-fit bench-backfill bench-latency bench-preview bench-ramps bench-write-back bench-scrape bench-redact bench-forward bench-nats bench-logs bench-shipping docs dashboards record-rules

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: $(STAMP)  ## Make .venv from the hashed lock file

$(STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Sentinel needs Python 3.11 or newer; $(PYTHON) is older. Set PYTHON=..."; exit 1; }
	@start=$$(date +%s); set -e; \
	 test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	 echo "Installing the locked dependencies into $(VENV) ..."; \
	 $(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r $(LOCK); \
	 $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index -e .; \
	 echo $$(( $$(date +%s) - start )) > $(STAMP); \
	 echo "Installed in $$(cat $(STAMP)) s."

lock:  ## Resolve the lock files anew (needs a package index; writes no index address)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --all-extras pyproject.toml -o requirements/all.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra admission --extra otel --extra remote-write --extra tokens pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra admission --extra otel --extra remote-write --extra tokens --extra archive -c requirements/all.txt pyproject.toml -o requirements/ledger.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group bench -c requirements/all.txt -o requirements/bench.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group sbom -c requirements/all.txt -o requirements/sbom.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group sdks -c requirements/all.txt -o requirements/sdks.txt

demo: install  ## Run the pipeline, break it, and see the page (some 80 s; busy machines take over two minutes)
	@$(BIN)/sentinel demo --install-seconds "$$(cat $(STAMP))" $(DEMO_ARGS)

test: install node-deps deploy-tools lint typecheck contracts  ## Everything CI runs (under 15 minutes)
	$(BIN)/python -m pytest -m "not full" $(SPREAD) $(TEST_ARGS)

test-full: install node-deps deploy-tools sdk-deps  ## The long batteries (under 60 minutes)
	SENTINEL_TEST_FULL=1 $(BIN)/python -m pytest --timeout 1800 $(SPREAD) $(TEST_ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: install
	$(BIN)/mypy

contracts: install
	$(BIN)/lint-imports --no-cache

format: install  ## Rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install  ## Regenerate the generated documents
	$(BIN)/python -m sentinel.app.docs

dashboards: install  ## Write the boards from their source
	$(BIN)/python -m dashboards.source

deploy: install  ## Write what deploy/ holds of alert_rules/ and dashboards/
	$(BIN)/python deploy/generate.py

RULES_FOLDER ?= build/rules

record-rules: install  ## Record what Prometheus sees of faults, for the tests of alert_rules/ (50 minutes; SCENES="posting queue" for some)
	$(BIN)/python -m tests.support.rules.record --folder $(RULES_FOLDER) $(SCENES)
	$(BIN)/python -m tests.support.rules.recordings $(RULES_FOLDER)/*/raw*.json

VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' sentinel/__init__.py)
IMAGES ?=

image:  ## Build the two images, with bill of materials and provenance (needs Docker; IMAGES=registry.example/ names where)
	docker buildx build -f deploy/Dockerfile --target sentinel --attest type=sbom --attest type=provenance,mode=max -t $(IMAGES)sentinel:$(VERSION) .
	docker buildx build -f deploy/Dockerfile --target ledger --attest type=sbom --attest type=provenance,mode=max -t $(IMAGES)sentinel-ledger:$(VERSION) .

.PHONY: release
release: install deploy-tools  ## Build wheel, sdist, chart, bill of materials and their sums into dist/
	$(BIN)/python deploy/release.py

stack:  ## Start Kong, NATS, PostgreSQL, Prometheus, Alertmanager, Grafana, Tempo, Loki, the ledger and Sentinel (needs Docker, and deploy/compose/.env)
	$(PYTHON) deploy/compose/make_secrets.py
	docker compose -f deploy/compose/compose.yaml up --build --detach --wait --wait-timeout 300

stack-down:  ## Stop them; DOWN_ARGS=--volumes forgets their data as well
	docker compose -f deploy/compose/compose.yaml down $(DOWN_ARGS)

bench: bench-cost bench-ingest bench-tick bench-memory bench-scrape bench-logs bench-redact bench-shipping  ## The speed and memory figures beside their goals, with the machine they were taken on

bench-cost: bench-deps  ## What 10,000 spans/s cost, beside a Rust collector that takes the same bytes and drops them
	$(BIN)/python benchmarks/bench_cost.py $(BENCH_ARGS)

bench-ingest: install
	$(BIN)/python benchmarks/bench_ingest.py

bench-tick: install
	$(BIN)/python benchmarks/bench_tick.py

bench-memory: install
	$(BIN)/python benchmarks/bench_memory.py

bench-write-back: install  ## Windows of series a second that an export of the past judges and writes
	$(BIN)/python benchmarks/bench_write_back.py $(BENCH_ARGS)

bench-server: install  ## What a span costs from the socket on, over HTTP and gRPC
	$(BIN)/python benchmarks/bench_server.py

bench-forward: install  ## What handing on 10,000 spans/s costs, and how long a log record takes to its endpoint
	$(BIN)/python benchmarks/bench_forward.py $(BENCH_ARGS)

bench-redact: install  ## How many log records a second a core redacts
	$(BIN)/python benchmarks/bench_redact.py $(BENCH_ARGS)

bench-nats: install  ## What watching NATS costs, with 500 consumers, on both servers
	$(BIN)/python benchmarks/bench_nats.py $(BENCH_ARGS)

bench-postgres: install  ## What being watched costs a PostgreSQL server under load
	$(BIN)/python -m benchmarks.bench_postgres $(BENCH_ARGS)

bench-store: install  ## What a window costs to store, and how fast past data comes in
	$(BIN)/python benchmarks/bench_store.py

bench-detection: install  ## Pages beside the peers', in the simulator and in DETECTION_DATA=folder (docs/benchmark.md)
	$(BIN)/python -m benchmarks.detection $(if $(DETECTION_DATA),--data "$(DETECTION_DATA)") $(BENCH_ARGS)

bench-fit: install  ## What a fit costs in its child, with 10,000 series
	$(BIN)/python -m benchmarks.bench_fit $(BENCH_ARGS)

bench-backfill: install  ## How long 10,000 series of four weeks take to read from a Prometheus, and then to fit
	$(BIN)/python -m benchmarks.bench_backfill $(BENCH_ARGS)

bench-latency: install  ## Latency by its share of slow calls beside its 95th percentile: false pages, and what each finds
	$(BIN)/python benchmarks/bench_latency.py $(BENCH_ARGS)

bench-preview: install  ## How long a preview of 200 series and four weeks takes
	$(BIN)/python benchmarks/bench_preview.py $(BENCH_ARGS)

bench-calendar: install  ## Pages on month-ends and other special days of 13 simulated months, with a calendar and without
	$(BIN)/python -m benchmarks.bench_calendar $(BENCH_ARGS)

bench-ramps: install  ## How fast a value may go somewhere without being told of, by kind
	$(BIN)/python -m benchmarks.bench_ramps $(BENCH_ARGS)

bench-scrape: install  ## What a scraped sample costs, beside Debian's Prometheus on the same target
	$(BIN)/python benchmarks/bench_scrape.py $(BENCH_ARGS)

bench-logs: install  ## How many log records a core reads, counts, redacts and encodes
	$(BIN)/python benchmarks/bench_logs.py $(BENCH_ARGS)

bench-shipping: install  ## How long a log line takes from the file to an OTLP collector, redacted
	$(BIN)/python benchmarks/bench_shipping.py $(BENCH_ARGS)

bench-roles: install  ## What collecting sidecars and their scorer cost
	$(BIN)/python -m benchmarks.bench_roles $(BENCH_ARGS)

bench-audit: install  ## Audit entries a second signed, recorded and verified, and what recording costs beside a ledger at work
	$(BIN)/python benchmarks/bench_audit.py $(BENCH_ARGS)

bench-ledger: install  ## The ledger under load with all beside it on this machine: limits, rates, CPU (BENCH_ARGS="--phases usual --seconds 30": a part of it)
	$(BIN)/python benchmarks/bench_ledger.py $(BENCH_ARGS)

bench-kills: install  ## The ledger's processes killed under load, 50 times: nothing lost, nothing twice, no drift, the audit verifies
	$(BIN)/python benchmarks/bench_ledger.py --phases kills $(BENCH_ARGS)

bench-durability: install  ## What an acceptance costs at the queue in each mode of durability, on one server and on three
	$(BIN)/python benchmarks/bench_durability.py $(BENCH_ARGS)

bench-pages: install  ## How soon, how often and how often for nothing faults of the ledger are paged, beside static thresholds (eight hours; BENCH_ARGS="--resume" goes on)
	$(BIN)/python benchmarks/bench_pages.py $(BENCH_ARGS)

bench-admission: install  ## How long reviews take under load, and what one costs
	$(BIN)/python -m benchmarks.bench_admission $(BENCH_ARGS)

bench-forecast: install  ## How well the next day is foretold, beside the truth and statsmodels' MSTL
	$(BIN)/python -m benchmarks.forecast $(BENCH_ARGS)

system-deps:  ## Install Debian's Prometheus, Alertmanager and Chromium, when root and apt are there
	@sh requirements/system-deps.sh

node-deps: $(NODE_STAMP)  ## Install OpenTelemetry's exporters for Node.js, which some tests send with, when npm is there

# npm leaves this file behind when it is done; its lock file names no registry.
$(NODE_STAMP): tests/node/package-lock.json tests/node/package.json
	@if command -v npm >/dev/null 2>&1; then \
	   npm ci --prefix tests/node --loglevel error && touch $@; \
	 else \
	   echo "npm is absent: the tests that send from Node.js are skipped, or fail with CI=true."; \
	 fi

deploy-tools: install  ## Put kubectl and Helm into .venv, which the tests of deploy/ render with
	@$(BIN)/python requirements/deploy_tools.py

bench-deps: install  ## Install the Rust collector that stands beside in make bench-cost
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: --no-deps -r requirements/bench.txt

sdk-deps: install  ## Install openapi-generator with its Java, and Go, which the ledger's clients are made with
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: --no-deps -r requirements/sdks.txt

sdks: install node-deps sdk-deps  ## Generate and compile the ledger's clients for Python, Node.js and Go into build/sdks (SDKS="go" for some)
	$(BIN)/python deploy/sdks.py $(SDKS)

clean:
	rm -rf tests/node/node_modules $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
