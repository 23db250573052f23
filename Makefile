# Each target is one line: a script, or cargo.

.PHONY: help demo demo-cluster test e2e panels cluster-up cluster-down bench bench-operator fuzz generate user-agents fmt

help:      ## what there is
	@grep -E '^[a-z0-9-]+: .*##' Makefile | sed 's/: *##/\t/'

demo:      ## build, serve examples/quickstart on loopback, send hits, show what was delivered, print a page to play with
	@scripts/demo

demo-cluster: ## a fleet with real pods: this machine becomes a node (as root), or the cluster of KUBECONFIG is used; until Ctrl-C
	@scripts/demo-cluster

test:      ## install what is missing and run every check and test
	@scripts/test

e2e:       ## the scenarios with real pods, those too that take many minutes, with their figures into docs/reliability.md; needs root
	@scripts/e2e

panels:    ## ask a real Prometheus, which scrapes gateways under load and the operator, for every panel of the dashboards; some minutes
	@scripts/dashboards live 120

cluster-up:   ## start a real Kubernetes control plane on loopback, with both kinds installed, to try things in; with NODE=1, as root, pods run too
	@scripts/cluster up $(if $(NODE),--node)

cluster-down: ## end it
	@scripts/cluster down

bench:     ## measure the gateway against nginx on this machine and write docs/benchmarks.md
	@scripts/bench

bench-operator: ## measure the operator with up to 1,000 containers beside a bare client and write its part of docs/benchmarks.md
	@scripts/bench-operator

fuzz:      ## fuzz every parser (FUZZ_SECONDS=600 each; TARGETS="query cookies" for some)
	@scripts/fuzz

generate:  ## write again what is generated: crds/yaml, its copy in the chart, docs/reference, the charts' tables, dashboards
	@scripts/generate

user-agents: ## write again the lists by which bots and devices are known, from their newest releases
	@scripts/user-agents

fmt:       ## format
	@cargo fmt --all
