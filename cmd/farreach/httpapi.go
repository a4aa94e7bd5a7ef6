package main

import (
	"net/http"
	"os"

	"github.com/farreach/farreach/api"
	"github.com/farreach/farreach/cmd/farreach/internal/listen"
	build "github.com/farreach/farreach/internal/version"
)

// apiServer answers with the HTTP API of the cloud, by the names that its
// certificate has, too.
func (b *booted) apiServer() *http.Server {
	cfg := api.Config{Version: build.Get(version).Version, Log: b.log}
	if b.ports.Secure {
		cfg.Hosts = listen.Hosts(b.cfg.listen)
		if name, err := os.Hostname(); err == nil {
			cfg.Hosts = append(cfg.Hosts, name)
		}
	}
	s := api.New(b.cloud, cfg).Server()
	s.Handler = b.forgetful(s.Handler)
	return s
}

// forgetful is next, after which the file with the first password is removed
// if next has replaced that password.
func (b *booted) forgetful(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut || r.URL.Path != "/api/v1/accounts/"+firstAccount+"/password" {
			next.ServeHTTP(w, r)
			return
		}
		seen := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(seen, r)
		if seen.status/100 != 2 {
			return
		}
		if err := b.forgetPassword(r.Context()); err != nil {
			b.log.Warn("the file with the first password is still there", "err", err)
		}
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find what it controls.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
