// Package manifest reads what an application says of itself: atoll.yaml, the service.yaml of each service, and
// .env.
//
// Load goes through five stages, each of which collects every fault that it finds instead of stopping at the
// first: read the files, lay the environment over, put in the variables, decode, check. The keys of a manifest
// are the `key` tags on the types of this package, and their documentation the `doc` tags; decoder, JSON Schema
// and reference all read those tags, so they cannot disagree on a key.
//
// A fault's position names its file relative to the folder of atoll.yaml, whatever the working folder is.
//
// The App that Load returns is whole and never changes. It is safe for concurrent use.
package manifest
