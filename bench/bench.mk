# make bench: tokens one by one, crowds that wait for one, and real builds; bench/README.md says more. Root, FUSE and a
# C compiler; what else there is to compare with comes by scripts/setup-tests. It takes most of an hour.
#   QUICK=1           a moment of everything, to see that it works
#   BENCHTIME=200ms   for one server in one round
#   BENCHFLAGS=…      any other option of bench, -only=pairs say
#   BUILDSFLAGS=…     any other option of bench/builds

.PHONY: bench
bench:
	go run ./bench $(if $(QUICK),-quick) $(if $(BENCHTIME),-time $(BENCHTIME)) $(BENCHFLAGS)
	go run ./bench/builds $(if $(QUICK),-quick) $(BUILDSFLAGS)
