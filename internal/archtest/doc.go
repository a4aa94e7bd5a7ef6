// Package archtest keeps the tree in the order that docs/architecture.md
// draws: its test parses every file of the module and fails when an import
// points up or sideways, when a package has no comment, or when a file has
// grown too long to be one idea.
package archtest
