package metastore

import "io/fs"

// Schema has the migrations of this program.
var Schema fs.FS = schema

// WithSchema returns options with other migrations.
func (o Options) WithSchema(schema fs.FS) Options {
	o.schema = schema
	return o
}
