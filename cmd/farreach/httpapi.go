package main

import "net/http"

// api is the HTTP API of the cloud.
func (b *booted) api() http.Handler { return http.NotFoundHandler() }
