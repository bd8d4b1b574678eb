# make install, make uninstall. Included by the Makefile, whose target "build" leaves static programs in bin/.
#
# DESTDIR stages the tree, for packages. The unit, rule and configuration directories below PREFIX are those that
# systemd and udev read for /usr and for /usr/local.

PREFIX         ?= /usr/local
SYSCONFDIR     ?= /etc
BINDIR         ?= $(PREFIX)/bin
MANDIR         ?= $(PREFIX)/share/man
DOCDIR         ?= $(PREFIX)/share/doc/steve
UNITDIR        ?= $(PREFIX)/lib/systemd/system
UDEVRULESDIR   ?= $(PREFIX)/lib/udev/rules.d
SYSUSERSDIR    ?= $(PREFIX)/lib/sysusers.d
MODULESLOADDIR ?= $(PREFIX)/lib/modules-load.d
INSTALL        ?= install

installed_docs = README.md CHANGELOG.md LICENSE docs/PROTOCOL.md

# $(call filled,mode,source,target): data files name the directories of this installation.
filled = sed -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' $(2) | $(INSTALL) -D -m $(1) /dev/stdin "$(DESTDIR)$(3)"
# $(call copied,mode,source,target)
copied = $(INSTALL) -D -m $(1) $(2) "$(DESTDIR)$(3)"

.PHONY: install uninstall

# A conf.d file that is already there is the administrator's.
install: build
	$(call copied,755,bin/steve,$(BINDIR)/steve)
	$(call copied,755,bin/stevie,$(BINDIR)/stevie)
	$(call copied,644,docs/man/steve.8,$(MANDIR)/man8/steve.8)
	$(call copied,644,docs/man/stevie.1,$(MANDIR)/man1/stevie.1)
	$(call filled,644,data/steve.service,$(UNITDIR)/steve.service)
	$(call filled,644,data/steve-fuse.service,$(UNITDIR)/steve-fuse.service)
	$(call copied,644,data/steve.udev,$(UDEVRULESDIR)/60-steve.rules)
	$(call copied,644,data/sysusers.conf,$(SYSUSERSDIR)/steve.conf)
	$(call copied,644,data/modules-load.conf,$(MODULESLOADDIR)/steve.conf)
	$(call filled,755,data/steve.initd,$(SYSCONFDIR)/init.d/steve)
	test -e "$(DESTDIR)$(SYSCONFDIR)/conf.d/steve" || $(call copied,644,data/steve.confd,$(SYSCONFDIR)/conf.d/steve)
	$(call copied,644,data/sandbox.conf,$(SYSCONFDIR)/sandbox.d/90steve)
	$(INSTALL) -d -m 755 "$(DESTDIR)$(DOCDIR)"
	$(INSTALL) -m 644 $(installed_docs) "$(DESTDIR)$(DOCDIR)"

# A conf.d file that was changed stays.
uninstall:
	rm -f "$(DESTDIR)$(BINDIR)/steve" "$(DESTDIR)$(BINDIR)/stevie"
	rm -f "$(DESTDIR)$(MANDIR)/man8/steve.8" "$(DESTDIR)$(MANDIR)/man1/stevie.1"
	rm -f "$(DESTDIR)$(UNITDIR)/steve.service" "$(DESTDIR)$(UNITDIR)/steve-fuse.service"
	rm -f "$(DESTDIR)$(UDEVRULESDIR)/60-steve.rules"
	rm -f "$(DESTDIR)$(SYSUSERSDIR)/steve.conf" "$(DESTDIR)$(MODULESLOADDIR)/steve.conf"
	rm -f "$(DESTDIR)$(SYSCONFDIR)/init.d/steve" "$(DESTDIR)$(SYSCONFDIR)/sandbox.d/90steve"
	if cmp -s data/steve.confd "$(DESTDIR)$(SYSCONFDIR)/conf.d/steve"; then rm -f "$(DESTDIR)$(SYSCONFDIR)/conf.d/steve"; fi
	rm -f $(foreach doc,$(notdir $(installed_docs)),"$(DESTDIR)$(DOCDIR)/$(doc)")
	if test -d "$(DESTDIR)$(DOCDIR)"; then rmdir --ignore-fail-on-non-empty "$(DESTDIR)$(DOCDIR)"; fi
