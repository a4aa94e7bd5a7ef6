package webhook

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// A target may be a subject of the NATS servers that the store is on: a program
// that the operator has let in there answers what is asked, by request and
// reply.
//
//	nats:diagnosis ──▶ farreach-service.<account>.diagnosis
//
// The account is in the subject, so that nobody gets at the programs of others,
// and nothing else that is published there can be meant.

const (
	subjectScheme = "nats"
	subjectRoot   = "farreach-service."
	maxSubject    = 200 // bytes, as the owner writes it
)

// subjects are those that an owner may name.
var subjects = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// subject is where an address of the form nats:SUBJECT leads, for an account.
func (w *Webhooks) subject(account, address string) (string, error) {
	name := strings.TrimPrefix(address, subjectScheme+":")
	switch {
	case len(name) > maxSubject || !subjects.MatchString(name):
		return "", oic.Errorf(oic.BadRequest, "a subject is words of letters, digits, - and _ with dots between them, %d bytes at most", maxSubject)
	case !w.cfg.Store.Shared():
		return "", oic.Errorf(oic.BadRequest, "no program can be asked by NATS: this server keeps its data itself; a webhook needs an https:// URL, or the server --nats")
	}
	return subjectRoot + account + "." + name, nil
}

// bySubject asks the program at a subject. What it answers is as good as a 200.
func (w *Webhooks) bySubject(ctx context.Context, t *Target, body []byte) (Answer, error) {
	subject, err := w.subject(t.Account, t.URL)
	if err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b, err := w.cfg.Store.Request(ctx, subject, body)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Answer{}, oic.Errorf(oic.BadGateway, "webhook %s: nobody answers at %s", t.Name, subject)
	case errors.Is(err, context.DeadlineExceeded):
		return Answer{}, oic.Errorf(oic.GatewayTimeout, "webhook %s: no answer within %v", t.Name, patience)
	case err != nil:
		return Answer{}, oic.Errorf(oic.BadGateway, "webhook %s: %v", t.Name, err)
	case len(b) > maxBody:
		return Answer{}, errMuch(t.Name)
	}
	return Answer{Status: http.StatusOK, Type: "application/json", Body: b}, nil
}
