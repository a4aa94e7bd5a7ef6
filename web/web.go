// Package web is the dashboard: pages for a browser, which talk to the HTTP API
// and to nothing else. They are built by Vite into dist and embedded; a program
// built without them says how to build them.
//
//	src (Svelte, TypeScript) ── make web ──▶ dist ── embed ──▶ Handler ──▶ a browser ──▶ /api/v1
package web

import (
	"embed"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed all:dist
var dist embed.FS

//go:embed plain.html
var plain []byte

// policy is what a page may load: what comes from this server, and no script
// or style that stands in the page itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// Handler serves the pages. Everything that is no page is next's to answer.
func Handler(next http.Handler) http.Handler {
	pages, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the name is a constant
	}
	return handler(pages, next)
}

func handler(pages fs.FS, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if name == "" {
			name = "index.html"
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead || !isPage(pages, name) {
			next.ServeHTTP(w, r)
			return
		}
		head := w.Header()
		head.Set("Content-Security-Policy", policy)
		head.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
		head.Set("Cache-Control", "no-cache")
		if strings.HasPrefix(name, "assets/") { // its name has a hash of what is in it
			head.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		serve(w, r, pages, name)
	})
}

// isPage reports whether there is a page of this name. The first one is always
// there.
func isPage(pages fs.FS, name string) bool {
	if name == "index.html" {
		return true
	}
	if !fs.ValidPath(name) || strings.HasPrefix(name, ".") {
		return false
	}
	info, err := fs.Stat(pages, name)
	return err == nil && info.Mode().IsRegular()
}

// serve sends a page, compressed if the browser takes that.
func serve(w http.ResponseWriter, r *http.Request, pages fs.FS, name string) {
	w.Header().Add("Vary", "Accept-Encoding")
	for _, c := range []struct{ coding, suffix string }{{"br", ".br"}, {"gzip", ".gz"}} {
		if !accepts(r.Header.Get("Accept-Encoding"), c.coding) {
			continue
		}
		if body, err := fs.ReadFile(pages, name+c.suffix); err == nil {
			w.Header().Set("Content-Encoding", c.coding)
			_, _ = w.Write(body) // the browser's loss
			return
		}
	}
	body, err := fs.ReadFile(pages, name)
	if err != nil { // only of the first page: it was not built
		body = plain
	}
	_, _ = w.Write(body)
}

// accepts looks for a coding in Accept-Encoding (RFC 9110, section 12.5.3).
func accepts(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), coding) {
			q := strings.ReplaceAll(params, " ", "")
			return q != "q=0" && !strings.HasPrefix(q, "q=0.000")
		}
	}
	return false
}
