package lan_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/internal/simnet"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
)

// authority makes a certificate for a name, and what is needed to trust it, as
// PEM.
func authority(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func write(t *testing.T, name string, b []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, b, mode); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, dir string) map[string]lan.Credentials {
	t.Helper()
	all, err := lan.LoadCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const sharedKey = "00112233445566778899aabbccddeeff"

// withKey are the credentials of the lamp by a shared key.
func withKey(t *testing.T, key string) map[string]lan.Credentials {
	dir := t.TempDir()
	write(t, filepath.Join(dir, lampID+".json"), []byte(`{"id":"`+proxyID+`","psk":"`+key+`"}`), 0o600)
	return load(t, dir)
}

// withCertificate are those by certificates: ours, and the device's to be trusted.
func withCertificate(t *testing.T, cert, key, roots []byte) map[string]lan.Credentials {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "proxy.pem"), cert, 0o644)
	write(t, filepath.Join(dir, "proxy.key"), key, 0o600)
	write(t, filepath.Join(dir, "roots.pem"), roots, 0o644)
	write(t, filepath.Join(dir, lampID+".json"), []byte(`{"certificate":"proxy.pem","key":"proxy.key","roots":"roots.pem"}`), 0o600)
	return load(t, dir)
}

// owned serves a lamp that shows what it is to all, and the rest by DTLS only.
func (n *network) owned(lamp oic.Handler, cfg dtls.Config) *unit {
	cfg.Listen, cfg.Log = true, slog.New(slog.DiscardHandler)
	n.plug("10.0.0.2:40002", oic.HandlerFunc(func(ctx context.Context, req *oic.Request) (*oic.Response, error) {
		switch path, _ := oic.SplitHref(req.Href); path {
		case "/oic/res":
			return answers(oic.OCF, map[string]string{"/oic/res": `[{"anchor":"ocf://` + lampID +
				`","href":"/a/light","rt":["oic.r.switch.binary"],"if":["oic.if.a"],"p":{"bm":3},"eps":[{"ep":"coaps://10.0.0.2:5684"}]}]`}).Handle(ctx, req)
		case "/oic/d":
			return lamp.Handle(ctx, req)
		}
		return nil, oic.Errorf(oic.Unauthorized, "by coaps only")
	}))
	return n.serve(dtls.New(n.Listen("10.0.0.2:5684"), cfg), lamp)
}

// A device with credentials is asked by DTLS; one that does not prove that it
// is that device is not there.
func TestSecured(t *testing.T) {
	cert, key := authority(t, "uuid:"+lampID)
	wrong, _ := authority(t, "uuid:"+lampID)
	other, otherKey := authority(t, "uuid:"+doorID)
	mine, myKey := authority(t, "uuid:"+proxyID)
	pair := func(cert, key []byte) dtls.Config {
		p, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return dtls.Config{TLS: &tls.Config{Certificates: []tls.Certificate{p}, ClientAuth: tls.RequireAnyClientCert}}
	}
	psk := dtls.Config{PSKIdentity: []byte("a hint"), PSK: func(identity []byte) ([]byte, error) {
		if len(identity) != 16 {
			return nil, os.ErrPermission
		}
		return []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), nil
	}}
	for _, c := range []struct {
		name   string
		device dtls.Config
		ours   map[string]lan.Credentials
		found  bool
	}{
		{"shared key", psk, withKey(t, sharedKey), true},
		{"another key", psk, withKey(t, strings.Repeat("ab", 16)), false},
		{"certificate", pair(cert, key), withCertificate(t, mine, myKey, cert), true},
		{"untrusted", pair(cert, key), withCertificate(t, mine, myKey, wrong), false},
		{"of another device", pair(other, otherKey), withCertificate(t, mine, myKey, other), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, simnet.Config{})
				n.owned(simulated(t, "lamp", lampID, "lamp"), c.device)
				w := n.watch(lan.Config{Known: lan.Known{Credentials: c.ours}})
				pass(time.Minute)
				if !c.found {
					w.expect()
					pass(time.Hour)
					if got := w.warned("does not prove who it is"); got != 1 {
						t.Errorf("%d warnings", got)
					}
					return
				}
				w.expect("+lamp")
				if got := read(t, w.device(lampID).Open(), "/a/light"); got != `{"value":false,"dimming":100}` {
					t.Errorf("the light is %s", got)
				}
				pass(time.Hour) // the session outlives silence
				w.expect()
				w.stop()
			})
		})
	}
}

// A secured device that restarts has lost the session: it is reached again.
func TestSecuredRestart(t *testing.T) {
	ours := withKey(t, sharedKey)
	psk := dtls.Config{PSK: func([]byte) ([]byte, error) {
		return []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), nil
	}}
	synctest.Test(t, func(t *testing.T) {
		var lost atomic.Bool
		n := newNetwork(t, simnet.Config{Filter: func(_, _ netip.AddrPort, _ []byte) bool { return !lost.Load() }})
		lamp := simulated(t, "lamp", lampID, "lamp")
		u := n.owned(lamp, psk)
		w := n.watch(lan.Config{Known: lan.Known{Credentials: ours}})
		pass(time.Minute)
		w.expect("+lamp")
		lost.Store(true) // nobody hears that the session ends
		u.unplug()
		lost.Store(false)
		cfg := psk
		cfg.Listen, cfg.Log = true, slog.New(slog.DiscardHandler)
		n.serve(dtls.New(n.Listen("10.0.0.2:5684"), cfg), lamp)
		pass(5 * time.Minute)
		w.expect()
		if got := read(t, w.device(lampID).Open(), "/a/light"); got != `{"value":false,"dimming":100}` {
			t.Errorf("the light is %s", got)
		}
		w.stop()
	})
}

// What is described may be secured, too: it is there if it proves who it is, and
// again after a restart, with which the session is lost.
func TestDescribedSecured(t *testing.T) {
	ours := withKey(t, sharedKey)
	psk := dtls.Config{Listen: true, Log: slog.New(slog.DiscardHandler), PSK: func([]byte) ([]byte, error) {
		return []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), nil
	}}
	described := []lan.Described{{Address: "coaps://10.0.0.2:5684", ID: lampID, Name: "lamp", Links: []oic.Link{{Href: "/a/light"}}}}
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		lamp := simulated(t, "lamp", lampID, "lamp")
		u := n.serve(dtls.New(n.Listen("10.0.0.2:5684"), psk), lamp)
		w := n.watch(lan.Config{Known: lan.Known{Described: described, Credentials: ours}})
		pass(2 * time.Minute)
		w.expect("+lamp")
		device := w.device(lampID).Open()
		if got := read(t, device, "/a/light"); got != `{"value":false,"dimming":100}` {
			t.Errorf("the light is %s", got)
		}
		u.unplug()
		n.serve(dtls.New(n.Listen("10.0.0.2:5684"), psk), lamp)
		pass(5 * time.Minute)
		w.expect()
		if got := read(t, device, "/a/light"); got != `{"value":false,"dimming":100}` {
			t.Errorf("the light is %s after its restart", got)
		}
		w.stop()
	})
	for _, known := range []lan.Known{{Described: described}, {Credentials: ours, Described: []lan.Described{{Address: "10.0.0.2", ID: lampID}}}} {
		if err := lan.Watch(t.Context(), lan.Config{Known: known}, nil); err == nil || !strings.Contains(err.Error(), "go together") {
			t.Errorf("Watch = %v", err)
		}
	}
}

// Files of credentials that are wrong say so, and nothing of what is in them
// (threats.md rule 15, bad input 46).
func TestCredentialFiles(t *testing.T) {
	cert, key := authority(t, "uuid:"+proxyID)
	for _, c := range []struct {
		name, file, text string
		mode             os.FileMode
		want             string // in the error; "": none
	}{
		{"fine", lampID + ".json", `{"id":"` + proxyID + `","psk":"` + sharedKey + `"}`, 0o600, ""},
		{"capital letters", strings.ToUpper(lampID) + ".json", `{"id":"` + strings.ToUpper(proxyID) + `","psk":"` + sharedKey + `"}`, 0o600, ""},
		{"readable", lampID + ".json", `{"id":"` + proxyID + `","psk":"` + sharedKey + `"}`, 0o644, "chmod 600"},
		{"no di", "lamp.json", `{}`, 0o600, "not the di"},
		{"not JSON", lampID + ".json", sharedKey, 0o600, "JSON"},
		{"unknown member", lampID + ".json", `{"id":"` + proxyID + `","psk":"` + sharedKey + `","x":1}`, 0o600, "JSON"},
		{"short key", lampID + ".json", `{"id":"` + proxyID + `","psk":"0011"}`, 0o600, "16 bytes"},
		{"no id", lampID + ".json", `{"psk":"` + sharedKey + `"}`, 0o600, "UUID"},
		{"both", lampID + ".json", `{"psk":"` + sharedKey + `","roots":"a"}`, 0o600, "there must be"},
		{"none", lampID + ".json", `{}`, 0o600, "there must be"},
		{"no such file", lampID + ".json", `{"certificate":"a","key":"b","roots":"c"}`, 0o600, "no such file"},
		{"outside", lampID + ".json", `{"certificate":"../../proxy.pem","key":"../proxy.key","roots":"/etc/proxy.pem"}`, 0o600, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "proxy.pem"), cert, 0o644)
			write(t, filepath.Join(dir, "proxy.key"), key, 0o600)
			write(t, filepath.Join(dir, c.file), []byte(c.text), c.mode)
			all, err := lan.LoadCredentials(dir)
			if c.want == "" {
				if _, ok := all[lampID]; err != nil || !ok {
					t.Errorf("loaded %d, %v", len(all), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			} else if strings.Contains(err.Error(), sharedKey) {
				t.Errorf("the error has the key: %v", err)
			}
		})
	}
	if _, err := lan.LoadCredentials(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no directory, no error")
	}
}
