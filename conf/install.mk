# SPDX-License-Identifier: Apache-2.0
# make install: the module, the header for modules that add stores, models and tools, the programs, their manual pages, the
# chat page, drop-ins for systemd and the configuration, in the layout of apxs's httpd. DESTDIR= stages all below another root. Files that an
# administrator has changed stay.
#
#   LAYOUT=debian   mods-available/agentchat.{load,conf}, for a2enmod          (apxs says that the server is called apache2)
#   LAYOUT=fedora   conf.modules.d/10-agentchat.conf, conf.d/agentchat.conf    (there is a conf.modules.d)
#   LAYOUT=httpd    conf/extra/agentchat.conf, to be included by hand          (an httpd that was built from its source)
DESTDIR  ?=
PREFIX   ?= /usr/local
BINDIR   ?= $(PREFIX)/bin
DATADIR  ?= $(PREFIX)/share/agentchat
MANDIR   ?= $(PREFIX)/share/man
MODDIR   ?= $(shell $(APXS) -q LIBEXECDIR)
INCDIR   ?= $(shell $(APXS) -q INCLUDEDIR)
HEADERS  := agentchat.h agentchat_store.h agentchat_types.h
SYSCONF  ?= $(shell $(APXS) -q SYSCONFDIR)
TMPFILES ?= $(if $(filter fedora,$(LAYOUT)),$(PREFIX)/lib/tmpfiles.d)
LAYOUT   ?= $(if $(filter apache2,$(shell $(APXS) -q TARGET)),debian,$(if $(wildcard $(SYSCONF)/../conf.modules.d),fedora,httpd))

MODULES_debian := mods-available/agentchat.load
CONF_debian    := mods-available/agentchat.conf
MODULES_fedora := ../conf.modules.d/10-agentchat.conf
CONF_fedora    := ../conf.d/agentchat.conf
MODULES_httpd  := extra/agentchat-load.conf
CONF_httpd     := extra/agentchat.conf
PROGRAMS       := $(patsubst tools/agentchat_%.c,agentchat-%,$(sort $(wildcard tools/agentchat_*.c)))

# The header for modules that add a store, a model or a tool.
install-header:
	install -d '$(DESTDIR)$(INCDIR)'
	install -m 644 $(HEADERS:%=src/%) '$(DESTDIR)$(INCDIR)/'

install: module tools install-header
	@case '$(LAYOUT)' in debian|fedora|httpd) ;; *) echo "install: LAYOUT=$(LAYOUT) is not debian, fedora or httpd" >&2; exit 2;; esac
	install -d '$(DESTDIR)$(MODDIR)' '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(MANDIR)/man1'
	install -m 755 $(BUILD)/mod_agentchat.so '$(DESTDIR)$(MODDIR)/'
	install -m 755 $(PROGRAMS:%=$(BUILD)/%) '$(DESTDIR)$(BINDIR)/'
	install -m 644 $(PROGRAMS:%=docs/man/%.1) '$(DESTDIR)$(MANDIR)/man1/'
	conf/install.sh page src/www '$(DESTDIR)$(DATADIR)/www'
	sed 's|/usr/share/agentchat/|$(DATADIR)/|' conf/chat-page.conf >$(BUILD)/chat-page.conf
	install -m 644 $(BUILD)/chat-page.conf '$(DESTDIR)$(DATADIR)/'
	conf/install.sh page $(SWAGGER) '$(DESTDIR)$(DATADIR)/swagger-ui'
	install -d '$(DESTDIR)$(DATADIR)/systemd'
	install -m 644 conf/systemd/*.conf '$(DESTDIR)$(DATADIR)/systemd/'
	echo 'LoadModule agentchat_module $(MODDIR)/mod_agentchat.so' >$(BUILD)/agentchat.load
	conf/install.sh config $(BUILD)/agentchat.load '$(DESTDIR)$(SYSCONF)/$(MODULES_$(LAYOUT))'
	conf/install.sh config conf/agentchat.conf '$(DESTDIR)$(SYSCONF)/$(CONF_$(LAYOUT))'
	$(if $(TMPFILES),install -D -m 644 conf/tmpfiles.conf '$(DESTDIR)$(TMPFILES)/agentchat.conf')
	@conf/install.sh next '$(LAYOUT)' '$(SYSCONF)'

# Changed configuration, the administrator's files of the page, and conversations stay.
uninstall:
	rm -f '$(DESTDIR)$(MODDIR)/mod_agentchat.so' $(HEADERS:%='$(DESTDIR)$(INCDIR)/%') $(PROGRAMS:%='$(DESTDIR)$(BINDIR)/%') $(PROGRAMS:%='$(DESTDIR)$(MANDIR)/man1/%.1')
	rm -rf '$(DESTDIR)$(DATADIR)/swagger-ui' '$(DESTDIR)$(DATADIR)/systemd' '$(DESTDIR)$(DATADIR)/chat-page.conf'
	conf/install.sh unpage src/www '$(DESTDIR)$(DATADIR)/www'
	rmdir --ignore-fail-on-non-empty '$(DESTDIR)$(DATADIR)'
	@conf/install.sh remove $(BUILD)/agentchat.load '$(DESTDIR)$(SYSCONF)/$(MODULES_$(LAYOUT))'
	@conf/install.sh remove conf/agentchat.conf '$(DESTDIR)$(SYSCONF)/$(CONF_$(LAYOUT))'
	$(if $(DESTDIR),,@conf/install.sh memory /dev/shm)

.PHONY: install install-header uninstall

# Swagger UI for /docs, from npm; not needed to build or run.
SWAGGER := $(BUILD)/swagger-ui
swagger-ui: $(SWAGGER)/swagger-ui-bundle.js
$(SWAGGER)/swagger-ui-bundle.js: conf/swagger-ui/package-lock.json
	mkdir -p $(SWAGGER)/npm
	cp conf/swagger-ui/package.json conf/swagger-ui/package-lock.json $(SWAGGER)/npm/
	cd $(SWAGGER)/npm && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	cd $(SWAGGER) && install -m 644 $(addprefix npm/node_modules/swagger-ui-dist/,LICENSE NOTICE swagger-ui.css swagger-ui-bundle.js) .
	rm -rf $(SWAGGER)/npm
	@touch $@

.PHONY: swagger-ui
