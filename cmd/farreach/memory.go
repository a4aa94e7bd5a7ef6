package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/kept"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp/jid"
)

// memory is what a simulated device remembers beside its registration: what
// people set at /oic/con, the cloud that they chose at CoAPCloudConf, and the XMPP
// server and account that its owner set. It is a file beside that of the
// registration, for the user alone.
type memory struct {
	file string

	mu  sync.Mutex // guards doc
	doc memoryDoc
}

type memoryDoc struct {
	Settings device.Settings `json:"settings"`
	Cloud    *cloudDoc       `json:"cloud,omitempty"`
	XMPP     *xmppDoc        `json:"xmpp,omitempty"`
}

// cloudDoc is the choice of a cloud, in the words of CoAPCloudConf.
type cloudDoc struct {
	Server   string               `json:"cis"`
	Cloud    string               `json:"sid,omitempty"`
	Provider string               `json:"apn,omitempty"`
	Code     string               `json:"at,omitempty"` // until it is used up
	Others   []device.CloudServer `json:"servers,omitempty"`
}

// xmppDoc is what was set of Remote Access, in the words of its two resources.
type xmppDoc struct {
	JID        string   `json:"jid,omitempty"`
	Credential []byte   `json:"credential,omitempty"` // the password
	Address    string   `json:"address,omitempty"`
	Port       uint16   `json:"port,omitempty"`
	Before     *hostDoc `json:"before,omitempty"` // the server that worked last, while this one has not
}

type hostDoc struct {
	Address string `json:"address"`
	Port    uint16 `json:"port"`
}

// remember reads what the device with this registration remembers.
func remember(state cloudlink.FileState) (*memory, error) {
	m := &memory{file: strings.TrimSuffix(string(state), ".json") + ".settings.json"}
	if err := kept.LoadSecrets(m.file, &m.doc); err != nil {
		return nil, err
	}
	return m, nil
}

// settings is what people set.
func (m *memory) settings() device.Settings {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.doc.Settings
}

// keepSettings is device.Config.Keep.
func (m *memory) keepSettings(_ context.Context, s device.Settings) error {
	return m.change(func(doc *memoryDoc) { doc.Settings = s })
}

// cloud is the choice of a cloud; its Server is empty if there is none.
func (m *memory) cloud() device.Onboarding {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.doc.Cloud
	if c == nil {
		return device.Onboarding{}
	}
	return device.Onboarding{Server: c.Server, Cloud: c.Cloud, Provider: c.Provider, Code: device.Secret(c.Code), Others: c.Others}
}

// keepCloud is cloudlink.MembershipConfig.Keep.
func (m *memory) keepCloud(to device.Onboarding) error {
	return m.change(func(doc *memoryDoc) {
		doc.Cloud = nil
		if to.Server != "" {
			doc.Cloud = &cloudDoc{to.Server, to.Cloud, to.Provider, to.Code.Reveal(), to.Others}
		}
	})
}

// xmpp is what was set of Remote Access.
func (m *memory) xmpp() (s rae.Settings, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.doc.XMPP
	if x == nil {
		return s, nil
	}
	if x.JID != "" {
		if s.Account, err = jid.Parse(x.JID); err != nil {
			return s, fmt.Errorf("%s: jid: %w", m.file, err)
		}
	}
	s.Password, s.Server = secret.String(x.Credential), rae.Server{Address: x.Address, Port: x.Port}
	if x.Before != nil {
		s.Before = rae.Server(*x.Before)
	}
	return s, nil
}

// keepXMPP is rae.ProvisioningConfig.Keep.
func (m *memory) keepXMPP(s rae.Settings) error {
	return m.change(func(doc *memoryDoc) {
		doc.XMPP = nil
		if s == (rae.Settings{}) {
			return
		}
		doc.XMPP = &xmppDoc{JID: s.Account.String(), Credential: []byte(s.Password.Reveal()), Address: s.Server.Address, Port: s.Server.Port}
		if s.Before != (rae.Server{}) {
			before := hostDoc(s.Before)
			doc.XMPP.Before = &before
		}
	})
}

// change writes the file anew before what is in it counts.
func (m *memory) change(how func(*memoryDoc)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.doc
	how(&next)
	if err := kept.Save(m.file, next); err != nil {
		return err
	}
	m.doc = next
	return nil
}
