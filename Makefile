# Set-up is a stamp: it runs again only when what is to be installed changed.
# A distribution's own Python where it can make environments: it is built with profile-guided
# optimisation, which one that pyenv has compiled is not unless it was asked for.
PYTHON ?= $(shell /usr/bin/python3.11 -c "import ensurepip, sys, venv; print(sys.executable)" 2>/dev/null || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The CPU build of torch is enough; a plain `pip install torch` may pull gigabytes of CUDA.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
SHARED := ../shared/data

.PHONY: demo test lint real bench benchmark planted timeshap screenshots clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m compileall -q lbsf_core dashboard  # as pip does with all else that it installs
	touch $@

demo: $(STAMP)  ## the dashboard on the demo workspace
	$(BIN)/lbsf demo

# Two workers, a file at a time: most tests use one core. In the order of the files, since those that
# drive a browser come last in each worker (see tests/conftest.py).
test: $(STAMP)  ## every test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(STAMP)  ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

screenshots: $(STAMP)  ## every page, 1280 and 1920 wide, light and dark
	$(BIN)/lbsf demo --prepare-only
	$(BIN)/python -m tests.browser.screenshots --out docs/screenshots

# Real payments: Berka (loan defaults) and Birmingham (proxy labels), cross-validated and explained.
real: $(STAMP)
	@test -d $(SHARED) || { echo "$(SHARED) is not there: the real payments are no part of the repository"; exit 1; }
	$(BIN)/lbsf ingest $(SHARED)/berka/trans.csv --mapping berka --out .lbsf/real/berka/payments.parquet
	$(BIN)/lbsf ingest-labels $(SHARED)/berka/loan.asc --mapping berka --out .lbsf/real/berka/labels.parquet
	$(BIN)/lbsf fold .lbsf/real/berka/payments.parquet --labels .lbsf/real/berka/labels.parquet --out .lbsf/real/berka/store
	$(BIN)/lbsf evaluate .lbsf/real/berka/store --settings few-labels --cv 5 --repeats 3 --out .lbsf/real/berka/evaluation
	$(BIN)/lbsf train .lbsf/real/berka/store --settings few-labels --out .lbsf/real/berka/bundle
	$(BIN)/lbsf workspace .lbsf/real/berka/store .lbsf/real/berka/bundle --evaluation .lbsf/real/berka/evaluation --name "Berka loans" --out .lbsf/real/workspaces/berka
	$(BIN)/lbsf ingest $(SHARED)/birmingham/payments.parquet --mapping birmingham --out .lbsf/real/birmingham/payments.parquet
	$(BIN)/lbsf ingest-labels $(SHARED)/birmingham/labels.parquet --mapping birmingham --label label_stop60 --out .lbsf/real/birmingham/labels.parquet
	$(BIN)/lbsf fold .lbsf/real/birmingham/payments.parquet --labels .lbsf/real/birmingham/labels.parquet --window-days 365 --out .lbsf/real/birmingham/store
	$(BIN)/lbsf evaluate .lbsf/real/birmingham/store --cv 5 --repeats 3 --out .lbsf/real/birmingham/evaluation
	$(BIN)/lbsf train .lbsf/real/birmingham/store --out .lbsf/real/birmingham/bundle
	$(BIN)/lbsf workspace .lbsf/real/birmingham/store .lbsf/real/birmingham/bundle --evaluation .lbsf/real/birmingham/evaluation --name "Birmingham purchase cards (proxy label)" --out .lbsf/real/workspaces/birmingham
	@echo "Look at them: $(BIN)/lbsf dashboard .lbsf/real/workspaces"

# Every contestant on the same folds of real payments; hours, and goes on where it was stopped. What
# the contestants said is kept, so that the report alone takes minutes:
#   lbsf benchmark ../shared/data --from tests/bench/predictions.parquet --report-only --out report
KEPT := tests/bench/predictions.parquet
benchmark: $(STAMP)
	$(BIN)/lbsf benchmark $(SHARED) --work .lbsf/benchmark --out .lbsf/benchmark-report --keep $(KEPT) $(if $(wildcard $(KEPT)),--from $(KEPT))
	cp .lbsf/benchmark-report/report.json tests/bench/benchmark.json

# Do explanations name the merchants that a simulator made the cause, and the pair that only together is?
PLANTED := .lbsf/planted
SEED := 1
planted: $(STAMP)
	$(BIN)/lbsf simulate $(PLANTED)/train --users 20000 --seed 11
	$(BIN)/lbsf fold $(PLANTED)/train/payments.parquet --labels $(PLANTED)/train/labels.parquet --window-days 180 --out $(PLANTED)/train-store
	$(BIN)/lbsf simulate $(PLANTED)/test --users 1000 --seed 12
	$(BIN)/lbsf fold $(PLANTED)/test/payments.parquet --labels $(PLANTED)/test/labels.parquet --window-days 180 --out $(PLANTED)/test-store
	$(BIN)/lbsf train $(PLANTED)/train-store --settings many-users --seed $(SEED) --out $(PLANTED)/bundle-$(SEED)
	$(BIN)/lbsf planted $(PLANTED)/test-store $(PLANTED)/bundle-$(SEED) $(PLANTED)/test/causes.parquet --json | tee $(PLANTED)/planted-$(SEED).json

# What README and docs/bench.md say about speed; half an hour on 2 idle cores. Every run is added to
# the history, so that a regression shows in the table's last column.
HISTORY := docs/bench.jsonl
bench: $(STAMP)
	$(BIN)/lbsf bench --history $(HISTORY) fold --payments 10000000 --rounds 3 --json
	$(BIN)/lbsf bench --history $(HISTORY) score --json
	$(BIN)/lbsf bench --history $(HISTORY) e2e --json
	$(BIN)/lbsf bench --history $(HISTORY) memory --score-only --json
	$(BIN)/lbsf bench --history $(HISTORY) update --json
	$(BIN)/lbsf bench --history $(HISTORY) spark --json
	$(BIN)/lbsf bench --history $(HISTORY) train --json
	$(BIN)/lbsf bench --history $(HISTORY) explain --json
	$(BIN)/lbsf bench table $(HISTORY) > docs/bench.md

# TimeSHAP in an environment of its own, for `lbsf bench explain`: it needs an old numpy and shap.
TIMESHAP := .venv-timeshap
timeshap: $(TIMESHAP)/.installed

$(TIMESHAP)/.installed: tests/bench/timeshap-requirements.txt
	test -x $(TIMESHAP)/bin/python || $(PYTHON) -m venv $(TIMESHAP)
	$(TIMESHAP)/bin/pip install --quiet "$$(grep '^torch==' $<)"
	$(TIMESHAP)/bin/pip install --quiet --requirement $<
	touch $@

clean:
	rm -rf $(VENV) $(TIMESHAP) .lbsf .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache build dist
