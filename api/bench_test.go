package api_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkResource is what the API does with a request for a resource, without
// the connection: the last state, a read of the device, a command.
func BenchmarkResource(b *testing.B) {
	h := newHome(b)
	h.plug().forget = true
	h.api.Unlimited("home")
	token := "Bearer " + h.as("home")
	for _, r := range []struct{ name, method, query, body string }{
		{"cached", "GET", "?cached", ""}, {"get", "GET", "", ""}, {"post", "POST", "", `{"value":true}`},
	} {
		b.Run(r.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req := httptest.NewRequest(r.method, "http://localhost"+light+r.query, bytes.NewReader([]byte(r.body)))
					req.Header.Set("Authorization", token)
					w := httptest.NewRecorder()
					if h.api.ServeHTTP(w, req); w.Code != http.StatusOK {
						b.Errorf("%d %s", w.Code, w.Body)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}
