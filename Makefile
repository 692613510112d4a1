# make demo | make test: everything from a bare checkout (Python 3.11+, pip and make). `make check` before a commit.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
STAMP := $(VENV)/installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

AUTOML := .venv-automl
WIDEDEEP := .venv-widedeep
TRL := .trl

.PHONY: install demo test check format recipes reference bench bench-multimodal bench-automl bench-widedeep bench-trl history clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make install PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: install
	test -e runs/demo/lineage.json || $(BIN)/omnitune fit recipes/demo.yaml --out runs/demo $$(test ! -d runs/demo || echo --resume)
	$(BIN)/omnitune report runs/demo
	$(BIN)/omnitune predict runs/demo recipes/demo-rows.jsonl

test: install
	$(PYTEST)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -m "not slow" -q

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

recipes: install
	@failed=; for recipe in recipes/*.yaml; do \
	  out=runs/recipes/$$(basename $$recipe .yaml); rm -rf $$out; \
	  echo "$$recipe"; $(BIN)/omnitune fit $$recipe --out $$out || failed="$$failed $$recipe"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

reference: install
	$(BIN)/python docs/generate_reference.py

# make bench: all jobs at full size (hours) | make bench QUICK=1: under ten minutes | make bench JOBS="text_full text_lora" ROUNDS=5
bench: install
	$(BIN)/python benchmarks/run.py $(JOBS) $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS))

# two multimodal tables beside AutoGluon, pytorch-widedeep, trees and matrix factorisation, on one thread (about an hour); what is finished stays in
# runs/multimodal | make bench-multimodal QUICK=1: that everything runs | make bench-multimodal PARTS=reviews
bench-multimodal: install
	$(BIN)/python benchmarks/multimodal.py $(PARTS) $(if $(QUICK),--quick)

# the lineage pre-trained on the same text, and what it is worth downstream; what is finished stays in runs/history
# make history: hours on two cores | make history SIZE=tiny: about half an hour | SIZE=gpt2: for a GPU
history: install
	$(BIN)/python benchmarks/history.py $(if $(SIZE),--size $(SIZE))

# AutoGluon, for the job automl_text and for bench-multimodal, in an environment of its own: it wants older packages than omnitune (2.3 GB, two minutes)
bench-automl: $(AUTOML)/installed

$(AUTOML)/installed: benchmarks/peers/automl.txt
	test -x $(AUTOML)/bin/python || $(PYTHON) -m venv $(AUTOML)
	$(AUTOML)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/automl.txt
	touch $(AUTOML)/installed

# pytorch-widedeep, for bench-multimodal, in an environment of its own
bench-widedeep: $(WIDEDEEP)/installed

$(WIDEDEEP)/installed: benchmarks/peers/widedeep.txt
	test -x $(WIDEDEEP)/bin/python || $(PYTHON) -m venv $(WIDEDEEP)
	$(WIDEDEEP)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/widedeep.txt
	touch $(WIDEDEEP)/installed

# TRL, for the race prefer of benchmarks/writing.py, in a folder of its own beside what omnitune has (1 MB)
bench-trl: $(TRL)/installed

$(TRL)/installed: benchmarks/peers/trl.txt $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(TRL) -r benchmarks/peers/trl.txt
	touch $(TRL)/installed

clean:
	rm -rf build dist runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
