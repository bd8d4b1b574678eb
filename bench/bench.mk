# make bench: steve beside a C server, and under many waiters; bench/README.md says more. Root, FUSE and a C compiler.
#   QUICK=1           a moment of everything, to see that it works
#   BENCHTIME=200ms   for one server in one round
#   BENCHFLAGS=…      any other option of bench

.PHONY: bench
bench:
	go run ./bench $(if $(QUICK),-quick) $(if $(BENCHTIME),-time $(BENCHTIME)) $(BENCHFLAGS)
