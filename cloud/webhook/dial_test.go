package webhook

import (
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/farreach/farreach/oic"
)

// TestTLS: a target proves who it is, or nothing is said to it; its address is
// looked at as well.
func TestTLS(t *testing.T) {
	w := open(t, true)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "{}") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	server.StartTLS()
	defer server.Close()
	if _, err := w.Add(t.Context(), "home", "safe", server.URL); err != nil {
		t.Fatal(err)
	}
	_, err := w.Call(t.Context(), "home", "safe", "1", []byte("{}"))
	refused(t, "an authority that nobody knows", err, oic.BadGateway)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	w.client = newClient(true, pool)
	if answer, err := w.Call(t.Context(), "home", "safe", "1", []byte("{}")); err != nil || string(answer.Body) != "{}" {
		t.Errorf("%+v, %v", answer, err)
	}
	w.client = newClient(false, pool)
	_, err = w.Call(t.Context(), "home", "safe", "1", []byte("{}"))
	refused(t, "an address inside", err, oic.BadGateway)
}
