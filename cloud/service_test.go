package cloud

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/farreach/farreach/oic"
)

// TestService: a device asks, and the program of its owner answers.
func TestService(t *testing.T) {
	w := newWorld(t)
	w.close()
	w.cfg.PrivateWebhooks = true
	w.open()
	answer, status := `{"ok":true}`, 200
	var got ServiceRequest
	program := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		got = ServiceRequest{}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte(answer))
	}))
	defer program.Close()
	home := oic.Identity{Account: "home"}
	made, err := w.AddWebhook(t.Context(), home, "diagnosis", program.URL)
	w.must(err)
	if list, err := w.Webhooks(t.Context(), home); err != nil || len(list) != 1 || list[0].Secret != "" || list[0].Standing.Waiting != 0 || made.Secret == "" {
		t.Errorf("%+v, %v", list, err)
	}
	ask := func(who oic.Identity, op oic.Op, href string) (*oic.Response, error) {
		to, err := w.Device(t.Context(), who, "svc")
		if err != nil {
			return nil, err
		}
		return to.Handle(t.Context(), &oic.Request{Op: op, Href: href, Format: oic.OCF, Body: []byte("\xa1\x61a\x01")})
	}
	resp, err := ask(w.lamp, oic.Update, "/diagnosis")
	if err != nil || resp.Status != oic.Changed || string(resp.Body) != "\xa1\x62ok\xf5" {
		t.Fatalf("%+v, %v", resp, err)
	}
	if got.Device != lamp || got.Name != "lamp" || got.Service != "diagnosis" || string(got.Body) != `{"a":1}` || got.ID == "" {
		t.Errorf("the program got %+v", got)
	}
	_, err = ask(w.lamp, oic.Retrieve, "/diagnosis")
	w.status("GET", err, oic.MethodNotAllowed)
	_, err = ask(w.lamp, oic.Update, "/none")
	w.status("no such service", err, oic.NotFound)
	_, err = ask(w.shed, oic.Update, "/diagnosis")
	w.status("a device of another account", err, oic.NotFound)
	_, err = ask(home, oic.Update, "/diagnosis")
	w.status("a person", err, oic.NotFound)
	for _, test := range []struct {
		status int
		answer string
		want   oic.Status
	}{{500, "", oic.BadGateway}, {302, "", oic.BadGateway}, {422, "", oic.BadRequest}, {200, "<html>", oic.BadGateway}} {
		status, answer = test.status, test.answer
		_, err := ask(w.lamp, oic.Update, "/diagnosis")
		w.status(test.answer, err, test.want)
	}
	status, answer = 200, ""
	if a, err := w.TryWebhook(t.Context(), home, "diagnosis"); err != nil || a.Status != 200 || got.Device != "" {
		t.Errorf("%+v, %v", a, err)
	}
	w.must(w.RemoveWebhook(t.Context(), home, "diagnosis"))
	_, err = ask(w.lamp, oic.Update, "/diagnosis")
	w.status("removed", err, oic.NotFound)
}
