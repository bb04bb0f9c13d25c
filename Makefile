# make demo · quick · test · check · soak · bench · digests · results · claims: each sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test quick soak check bench digests results claims claims-all clean

demo: .venv/.run
	$(BIN)/python cli.py train-w2v
	$(BIN)/python cli.py train-ner --deterministic
	@echo "look at both with: $(BIN)/tensorboard --logdir runs"

# Tests run in two processes of one thread each: tiny tensors only lose time on several threads. Where tests do ask for
# several, those that wait leave the processor to the others.
QUIET := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
test: .venv/.test
	$(QUIET) $(BIN)/python -m pytest -n 2 --dist worksteal

quick: .venv/.test
	$(QUIET) $(BIN)/python -m pytest -n 2 --dist worksteal -m "not soak and not slow"

soak: .venv/.test
	$(BIN)/python -m pytest -m soak
	OMP_NUM_THREADS=1 PYTHONPATH=. $(BIN)/python tests/proof/soak_kills.py --kills 400 --record kills
	OMP_NUM_THREADS=1 PYTHONPATH=. $(BIN)/python tests/proof/soak_processes.py --kills 300 --record process-kills
	OMP_NUM_THREADS=1 PYTHONPATH=. $(BIN)/python tests/proof/soak_own.py --kills 200 --record own-kills

check: .venv/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Digests of short runs: a change that is not meant to change bits leaves each line as it is.
digests: .venv/.run
	$(BIN)/python benchmarks/digests.py

bench: .venv/.test
	$(BIN)/python benchmarks/loop_overhead.py
	$(BIN)/python benchmarks/lstm_speed.py
	$(BIN)/python benchmarks/crf_speed.py

# RESULTS.md and the README's tables, from benchmarks/results/*.json.
results: .venv/.run
	$(BIN)/python benchmarks/make_results.py

# Each claim of the README: does it hold here? claims-all DATA=FOLDER takes hours; WORK keeps what was trained.
WORK ?= runs/claims
claims: .venv/.test
	$(BIN)/python benchmarks/check_claims.py

claims-all: .venv/.test
	$(BIN)/python benchmarks/check_claims.py --data "$(DATA)" --work "$(WORK)"

# The environment, once: what the commands need, and what the tests need beside it. torch comes first and pinned,
# since other packages would take whatever torch they find. seqeval is built from source: by PEP 517, since setuptools alone
# does not fetch what its build requirements require.
.venv/.run: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "samebits needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(TORCH_INDEX) torch==2.13.0
	$(BIN)/python -m pip install --quiet --use-pep517 --constraint constraints.txt --editable .
	touch $@

.venv/.test: .venv/.run
	$(BIN)/python -m pip install --quiet --use-pep517 --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv build *.egg-info
