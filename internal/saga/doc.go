// Package saga runs transactions over services.
package saga
