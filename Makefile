# `make demo` and `make test` do all the set-up themselves, each what it needs; a second call installs nothing again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEVELOPING := $(VENV)/.developing
POSTHOC := msp maxlogit energy gen odin mahalanobis rmds knn vim react ash

.PHONY: help demo figures check test images fuzz mutate kill bench gpu docs lint format clean

help:
	@echo "make demo    MSP against ATOM on real digits, clean and attacked (minutes, no download)"
	@echo "make figures scores and attacks with the committed networks (minutes)"
	@echo "make check   demo and figures against results/reference/measured.csv"
	@echo "make test    the tests"
	@echo "make images  packs of the real images that lie beside the project, into data/real (a minute; for its developers)"
	@echo "make fuzz    mutated input for a minute, and commands killed at random moments for another"
	@echo "make bench   what the harness costs: ratios to bare passes, scikit-learn, pytorch-ood, ... (an hour)"
	@echo "make gpu     what is to be measured on a CUDA GPU, nine minutes of it; call it again until it ends (docs/gpu.md)"
	@echo "make docs    the site, into site/; a dead link fails"
	@echo "make lint    ruff and mypy"
	@echo "make format  ruff format"
	@echo "make clean   remove the environment and caches, not the results"

demo: $(INSTALLED)
	$(BIN)/oodbench run --suite digits-adv --detector msp --detector atom
	$(BIN)/oodbench run --suite digits-adv --detector msp --detector atom --task linf-adaptive --set linf-adaptive.level=quick --images 100
	$(BIN)/oodbench table results/ --metric fpr95 --metric auroc --metric accuracy

figures: $(INSTALLED)
	$(BIN)/oodbench run --suite digits-adv $(POSTHOC:%=--detector %) --task clean --pretrained
	$(BIN)/oodbench run --suite digits-adv --detector msp --task linf --pretrained
	$(BIN)/oodbench run --suite digits-adv --detector atom --task clean --task linf --pretrained
	$(BIN)/oodbench run --suite digits-adv --detector msp --detector atom --task corruption --task compositional --limit 100 --pretrained

check: demo figures
	$(BIN)/oodbench check results/ --reference results/reference/measured.csv --suite digits-adv

# A process for each core, four at most as each takes up to 2.5 GB, with one thread: more would wait for each other.
# Who has nothing left takes over tests of another; whole files dealt out would leave the few long ones to the end.
test: $(DEVELOPING)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

images: $(DEVELOPING)
	$(BIN)/python -m tests.realimages

# Side by side, since each keeps one core busy.
fuzz: $(DEVELOPING)
	$(MAKE) --jobs 2 mutate kill

mutate: $(DEVELOPING)
	$(BIN)/python -m tests.fuzz --minutes 1

kill: $(DEVELOPING)
	$(BIN)/python -m tests.kill --times 20

bench: $(INSTALLED)
	$(BIN)/python -m pip install --quiet -e '.[bench]'
	$(BIN)/python -m benchmarks

# Nothing is installed: the machine may have no network, and its own torch. GPU holds options, as in GPU='--data packs'.
gpu:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m benchmarks.gpu $(GPU)

docs: $(DEVELOPING)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

lint: $(DEVELOPING)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy oodbench detectors suites benchmarks studies docs

format: $(DEVELOPING)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "oodbench needs Python 3.11 or later; say make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e .
	touch $@

# Tests, linters, the site, Ray.
# torchattacks asks for a version of requests from 2021, which nothing here can be installed beside; any will do for it.
$(DEVELOPING): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps torchattacks==3.5.1
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
