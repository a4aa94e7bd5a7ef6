package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"
)

var built = fstest.MapFS{
	".gitkeep":             {},
	"index.html":           {Data: []byte("first page")},
	"index.html.br":        {Data: []byte("br of it")},
	"index.html.gz":        {Data: []byte("gz of it")},
	"icon.svg":             {Data: []byte("<svg/>")},
	"assets/main-AbCd.js":  {Data: []byte("script")},
	"assets/main-AbCd.css": {Data: []byte("style")},
}

func TestHandler(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, c := range []struct {
		name, method, path, accept string
		pages                      fstest.MapFS
		status                     int
		body, coding, kind, cache  string
	}{
		{"first page", "GET", "/", "", built, 200, "first page", "", "text/html; charset=utf-8", "no-cache"},
		{"brotli", "GET", "/", "gzip, deflate, br", built, 200, "br of it", "br", "text/html; charset=utf-8", "no-cache"},
		{"gzip", "GET", "/", "gzip, br;q=0", built, 200, "gz of it", "gzip", "text/html; charset=utf-8", "no-cache"},
		{"not compressed", "GET", "/icon.svg", "br", built, 200, "<svg/>", "", "image/svg+xml", "no-cache"},
		{"asset", "GET", "/assets/main-AbCd.js", "", built, 200, "script", "", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		{"directory", "GET", "/assets/", "", built, 418, "", "", "", ""},
		{"hidden", "GET", "/.gitkeep", "", built, 418, "", "", "", ""},
		{"upwards", "GET", "/../../etc/passwd", "", built, 418, "", "", "", ""},
		{"API", "GET", "/api/v1/devices", "", built, 418, "", "", "", ""},
		{"no page to write", "POST", "/", "", built, 418, "", "", "", ""},
		{"not built", "GET", "/", "br", fstest.MapFS{".gitkeep": {}}, 200, string(plain), "", "text/html; charset=utf-8", "no-cache"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "http://localhost/", nil)
			r.URL.Path = c.path
			r.Header.Set("Accept-Encoding", c.accept)
			w := httptest.NewRecorder()
			handler(c.pages, next).ServeHTTP(w, r)
			resp := w.Result()
			body, _ := io.ReadAll(resp.Body)
			got := func(name string) string { return resp.Header.Get(name) }
			if resp.StatusCode != c.status || string(body) != c.body || got("Content-Encoding") != c.coding ||
				got("Content-Type") != c.kind || got("Cache-Control") != c.cache {
				t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
			}
			if (got("Content-Security-Policy") == policy) != (c.status == 200) {
				t.Error("policy:", got("Content-Security-Policy"))
			}
		})
	}
}

// TestEmbedded: whatever was built, there is a first page.
func TestEmbedded(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/", nil))
	if w.Code != 200 || w.Body.Len() == 0 {
		t.Error(w.Code, w.Body)
	}
}
