package main

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/internal/kept"
	"github.com/farreach/farreach/internal/secret"
)

// commandsLogin is the file with the password by which the commands of this
// machine are clients of the first account's XMPP, and can be nothing else there.
const commandsLogin = "xmpp-password"

// openLogin sees to it that there is a log-in for the commands of this machine:
// one of their own, because the account's password changes. Several servers may
// have one store, so its name is that of this data directory's authority.
func (b *booted) openLogin(ctx context.Context) error {
	if b.xmpp == nil {
		return nil
	}
	_, err := b.login(ctx, commandsLogin, "commands, "+b.ca.Fingerprint()[:11], "OIC/1.0/Client/*")
	return err
}

// login is the password of a log-in of the first account, which a file in the
// data directory has. If one of the two is missing, both are made anew.
func (b *booted) login(ctx context.Context, file, name, resource string) (secret.String, error) {
	text, err := settings.ReadSecret(b.file(file))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	all, failed := b.cloud.Logins(ctx, owner, firstAccount)
	if failed != nil {
		return "", failed
	}
	if slices.ContainsFunc(all, func(l account.Login) bool { return l.Name == name && l.Resource == resource }) {
		if err == nil {
			return secret.String(text), nil
		}
		if err := b.cloud.RemoveLogin(ctx, owner, firstAccount, name); err != nil {
			return "", err
		}
	}
	password, _, err := b.cloud.NewLogin(ctx, owner, firstAccount, name, resource)
	if err != nil {
		return "", err
	}
	return password, kept.Write(b.file(file), []byte(password.Reveal()+"\n"), 0o600)
}
