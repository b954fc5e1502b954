// Package arch holds no code: its test holds the import lattice of the house, which ARCHITECTURE.md describes.
package arch
