.PHONY: check lint types links test build

check: lint types test  ## what CI checks, in its words

lint:
	ruff check .
	ruff format --check .

types: links
	mypy

links:  ## build/types/lindoc -> the checkout, laid out as the installed package, for static checkers
	rm -rf build/types && mkdir -p build/types/lindoc
	ln -sfn $(CURDIR)/lindoc/* $(CURDIR)/cli $(CURDIR)/core $(CURDIR)/kernels $(CURDIR)/models build/types/lindoc/

test:
	pytest

build:  ## dist/*.whl and dist/*.tar.gz
	rm -rf dist build/lib build/bdist.*
	python -m build
