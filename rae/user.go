package rae

import (
	"context"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/jid"
)

// Where the XMPP account of a device is set (Remote Access, section 6.2.2.2 and
// Annex A.2). It is nothing for anybody but the owner, and for nobody from afar:
// device.Host.Remote refuses it by its type (RA-032).
const (
	hrefUser = "/XMPPUserResURI"
	typeUser = "oic.ra.user"
)

// maxPassword is how long a password may be, bytes.
const maxPassword = 1024

// user is /XMPPUserResURI, as it is for who asks.
type user struct {
	p   *Provisioning
	who oic.Identity
}

func (r user) Link() oic.Link {
	return oic.Link{Href: hrefUser, Types: []string{typeUser}, Interfaces: interfaces,
		Policy: oic.Policy{Mask: oic.Discoverable}}
}

func (r user) For(who oic.Identity, _ bool) device.Resource { return user{r.p, who} }

// userRep has a credential because the schema wants a string, and an empty one
// because a secret is not to be read back.
type userRep struct {
	common
	JID        string `json:"jid"`
	Credential string `json:"credential"`
}

func (r user) Retrieve(_ context.Context, iface string) (any, error) {
	if err := nearOwner(r.who); err != nil {
		return nil, err
	}
	s, _, _ := r.p.current()
	return device.Complete{Rep: userRep{common: commonOf(typeUser, iface, false), JID: s.Account.String()}}, nil
}

// Update sets account and password.
func (r user) Update(ctx context.Context, iface string, rep []byte) (any, error) {
	if err := nearOwner(r.who); err != nil {
		return nil, err
	}
	account, password, err := parseUser(rep)
	if err != nil {
		return nil, err
	}
	r.p.log.Info("XMPP account set", "account", account)
	err = r.p.choose(func(s *Settings) {
		s.Account, s.Password = account, password
		s.Before = Server{} // whoever sets it is near
	})
	if err != nil {
		return nil, err
	}
	return r.Retrieve(ctx, iface)
}

// parseUser reads what a request sets: both properties or nothing (RA-043).
func parseUser(rep []byte) (account jid.JID, password secret.String, err error) {
	var want struct {
		JID        *string `json:"jid"`
		Credential *string `json:"credential"`
	}
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return jid.JID{}, "", err
	}
	if want.JID == nil || want.Credential == nil {
		return jid.JID{}, "", oic.Errorf(oic.BadRequest, "jid and credential are both needed")
	}
	account, err = jid.Parse(*want.JID)
	if err != nil || account.Local() == "" || !account.IsBare() {
		return jid.JID{}, "", oic.Errorf(oic.BadRequest, "jid is not like user@domain")
	}
	if password, err = parseCredential(*want.Credential); err != nil {
		return jid.JID{}, "", err
	}
	return account, password, nil
}

// parseCredential is the password in UTF-8 behind base64 with or without padding
// (RFC 4648, section 4; A-03). Its errors do not repeat what they are about.
func parseCredential(s string) (secret.String, error) {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	switch {
	case err != nil || strings.ContainsAny(s, "\r\n") || len(s)-len(strings.TrimRight(s, "=")) > 2: // the decoder skips ends of lines
		return "", oic.Errorf(oic.BadRequest, "credential is not base64")
	case len(b) == 0 || len(b) > maxPassword || !utf8.Valid(b):
		return "", oic.Errorf(oic.BadRequest, "credential is not a password in UTF-8 of 1 to %d bytes", maxPassword)
	}
	return secret.String(b), nil
}
