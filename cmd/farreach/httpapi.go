package main

import (
	"net/http"
	"os"

	"github.com/farreach/farreach/api"
	"github.com/farreach/farreach/cmd/farreach/internal/listen"
	build "github.com/farreach/farreach/internal/version"
)

// apiServer answers with the HTTP API of the cloud, by the names that its
// certificate has, too, and gives WebSockets to ws.
func (b *booted) apiServer(ws http.Handler) *http.Server {
	cfg := api.Config{Version: build.Get(version).Version, Log: b.log, CoAP: ws}
	if b.ports.Secure {
		cfg.Hosts = listen.Hosts(b.cfg.listen)
		if name, err := os.Hostname(); err == nil {
			cfg.Hosts = append(cfg.Hosts, name)
		}
	}
	return api.New(b.cloud, cfg).Server()
}

// passwordChanged removes the file with the first password, which it is not
// any more.
func (b *booted) passwordChanged(account string) {
	if account != firstAccount {
		return
	}
	if err := removeIfThere(b.file("password")); err != nil {
		b.log.Warn("the file with the first password is still there", "err", err)
	}
}
