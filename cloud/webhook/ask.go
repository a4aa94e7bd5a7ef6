package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// Answer is what a target said, of whatever status.
type Answer struct {
	Status int // of HTTP
	Type   string
	Body   []byte
}

// Call sends body, which is JSON, to a target and returns what it answered. It
// is a 4.04 without such a target, 5.04 if it takes longer than 10 s, and 5.02
// if it cannot be reached, redirects or says too much. What exactly went wrong
// is in the error's text, for its owner.
func (w *Webhooks) Call(ctx context.Context, account, name, id string, body []byte) (Answer, error) {
	t := w.targets.Get(store.Key(account, name))
	switch {
	case t == nil:
		return Answer{}, errNone
	case len(body) > maxBody:
		return Answer{}, oic.Errorf(oic.TooLarge, "a webhook takes %d bytes", maxBody)
	case strings.HasPrefix(t.URL, subjectScheme+":"):
		return w.bySubject(ctx, t, body)
	}
	resp, err := w.post(ctx, t, id, body)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return Answer{}, unreached(name, err)
	case len(b) > maxBody:
		return Answer{}, errMuch(name)
	}
	return Answer{resp.StatusCode, resp.Header.Get("Content-Type"), b}, nil
}

func errMuch(name string) error {
	return oic.Errorf(oic.BadGateway, "webhook %s: it answered more than %d bytes", name, maxBody)
}

// post sends a request, signed. The error is a refusal; a redirect is one, too.
func (w *Webhooks) post(ctx context.Context, t *Target, id string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(body))
	if err != nil {
		return nil, unreached(t.Name, err)
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "farreach")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", stamp)
	req.Header.Set("webhook-signature", Sign(t.Secret, id, stamp, body))
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, unreached(t.Name, err)
	}
	if resp.StatusCode/100 == 3 {
		resp.Body.Close()
		return nil, oic.Errorf(oic.BadGateway, "webhook %s: it redirects, which is not followed", t.Name)
	}
	return resp, nil
}

var errGarbage = errors.New("what it answered is not HTTP")

func unreached(name string, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL, which may hold a secret
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return oic.Errorf(oic.GatewayTimeout, "webhook %s: no answer within %v", name, patience)
	}
	if _, what, ok := strings.Cut(err.Error(), "transport connection broken: "); ok && strings.HasPrefix(what, "malformed") {
		err = errGarbage // without what it said
	}
	return oic.Errorf(oic.BadGateway, "webhook %s: %.256s", name, err)
}

// newSecret returns what a target and we share, in the base64 that the libraries
// of Standard Webhooks read.
func newSecret() string {
	return secretMark + standard.Replace(secret.Token("").Reveal())
}

// standard makes the usual base64 of that for URLs.
var standard = strings.NewReplacer("-", "+", "_", "/")

// Sign is the signature of a request, as Standard Webhooks has it: HMAC-SHA256
// of its id, time and body by the secret.
func Sign(key, id, stamp string, body []byte) string {
	raw, err := base64.RawStdEncoding.DecodeString(standard.Replace(strings.TrimPrefix(key, secretMark)))
	if err != nil {
		raw = []byte(key)
	}
	mac := hmac.New(sha256.New, raw)
	fmt.Fprintf(mac, "%s.%s.", id, stamp)
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
