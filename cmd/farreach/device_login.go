package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp/jid"
)

// named reports whether somebody says what the password is.
func (a *app) named(p passwordSource) bool {
	text, _ := a.lookup("FARREACH_PASSWORD")
	return text != "" || p != (passwordSource{})
}

// deviceLogin has the server of the profile make a password for an account of
// its own with which the device di gets in, and nothing else: if the device is
// lost, the account is not. One that the device had before ends.
func (a *app) deviceLogin(ctx context.Context, x access, account jid.JID, di string) (secret.String, error) {
	return a.newLogin(ctx, x, account, di, "OIC/1.0/*/"+di)
}

// newLogin has the server of the profile make a password, called name, for what
// the resource stands for. One of the same name ends.
func (a *app) newLogin(ctx context.Context, x access, account jid.JID, name, resource string) (secret.String, error) {
	s, err := a.profileOf(account)
	if err != nil {
		return "", err
	}
	if s.API() == "" {
		return "", misuse("--password-file FILE, or --password-stdin", "no password for %s, which is not the account of profile %s", account, a.profile)
	}
	if x.timeout == 0 {
		x.timeout = 10 * time.Second
	}
	api, err := a.api(x)
	if err != nil {
		return "", err
	}
	defer api.Close()
	made, err := api.AddLogin(ctx, s.Account, name, resource)
	if p, ok := errors.AsType[*apiclient.Problem](err); ok && p.Status == http.StatusConflict {
		if err := api.RemoveLogin(ctx, s.Account, name); err != nil {
			return "", err
		}
		made, err = api.AddLogin(ctx, s.Account, name, resource)
	}
	return made.Password, err
}
