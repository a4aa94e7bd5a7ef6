// Package e2e holds no code of the product, only tests of the whole: scripts
// that a user could have typed, and conversations with other people's programs.
//
//	libcoap's coap-client ── TCP, TLS ──▶ our server, our cloud
//	our client, our binary ── TCP, TLS ──▶ libcoap's coap-server
//
// A foreign program that is not installed skips its test, with the reason; with
// CI=true in the environment that is a failure. On Debian the package
// libcoap3-bin has both tools.
package e2e
