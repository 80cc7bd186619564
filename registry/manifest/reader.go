package manifest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"artifactstore/internal/canon"
	"artifactstore/registry/identity"
)

// The members that this package reads, of each kind of object.
var (
	documentMembers   = []string{"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"}
	descriptorMembers = []string{"mediaType", "digest", "size", "artifactType", "urls", "annotations", "data", "platform"}
	platformMembers   = []string{"architecture", "os", "os.version", "os.features", "variant", "features"}
)

// reader reads the parts that manifests are made of, within limits. Each
// method reads the value that is next into its argument.
type reader struct {
	*canon.JSONReader
	limits               Limits
	descriptorN, entries int // found so far
}

func (r *reader) integer(n *int64) (err error) {
	*n, err = r.Integer()
	return err
}

func (r *reader) text(s *string) (err error) {
	*s, err = r.Text()
	return err
}

// typeName reads a media type; "" is an absent one.
func (r *reader) typeName(s *string) error {
	if err := r.text(s); err != nil {
		return err
	}
	if *s != "" && !isMediaType(*s) {
		return &Error{Problem: "must be a media type of at most 255 visible ASCII characters"}
	}
	return nil
}

// checkName refuses a name that only case sets apart from a known one. Many
// clients match names without regard to case, so a member "Layers" beside
// "layers" would show them another manifest than it shows the registry.
func checkName(name string, known []string) error {
	if slices.Contains(known, name) {
		return nil
	}
	for _, k := range known {
		if strings.EqualFold(name, k) {
			return &Error{Field: k, Problem: "must be written in exactly this case"}
		}
	}
	return nil
}

// texts reads a list of texts.
func (r *reader) texts(list *[]string) error {
	return r.Array(func(i int) error {
		if err := r.count(); err != nil {
			return err
		}
		s, err := r.Text()
		*list = append(*list, s)
		return within(index(i), err)
	})
}

// annotate reads annotations.
func (r *reader) annotate(annotations *map[string]string) error {
	*annotations = make(map[string]string)
	return r.Object(func(name string) error {
		if err := r.count(); err != nil {
			return err
		}
		if k := r.Kind(); k != canon.Text && k != canon.Invalid {
			return &Error{Problem: "must have text values only"}
		}
		value, err := r.Text()
		(*annotations)[name] = value
		return err
	})
}

// count counts one more entry.
func (r *reader) count() error {
	if r.entries++; r.entries > r.limits.Entries {
		return &Error{Problem: fmt.Sprintf("must not bring the annotations, URLs and platform features of the manifest above %d", r.limits.Entries)}
	}
	return nil
}

// descriptors reads a list of descriptors; null is an empty one.
func (r *reader) descriptors(list *[]Descriptor) error {
	if null, err := r.Null(); null || err != nil {
		return err
	}
	return r.Array(func(i int) error {
		var d *Descriptor
		if err := r.descriptor(&d); err != nil {
			return within(index(i), err)
		}
		*list = append(*list, *d)
		return nil
	})
}

// descriptor reads one descriptor (OCI image specification, descriptor.md).
func (r *reader) descriptor(into **Descriptor) error {
	if r.descriptorN++; r.descriptorN > r.limits.Descriptors {
		return &Error{Problem: fmt.Sprintf("must not bring the descriptors of the manifest above %d", r.limits.Descriptors)}
	}
	part := descriptorReader{reader: r, d: Descriptor{Size: -1}}
	if err := r.Object(part.member); err != nil {
		return err
	}
	if err := part.check(); err != nil {
		return err
	}
	*into = &part.d
	return nil
}

// descriptorReader collects the members of one descriptor.
type descriptorReader struct {
	*reader
	d Descriptor
	// data is the embedded content, if hasData.
	data    []byte
	hasData bool
}

func (r *descriptorReader) member(name string) error {
	if err := checkName(name, descriptorMembers); err != nil {
		return err
	}
	if null, err := r.Null(); null || err != nil {
		return err
	}
	switch name {
	case "mediaType":
		return within(name, r.typeName(&r.d.MediaType))
	case "digest":
		return within(name, r.digest())
	case "size":
		return within(name, r.size())
	case "artifactType":
		return within(name, r.typeName(&r.d.ArtifactType))
	case "urls":
		return within(name, r.texts(&r.d.URLs))
	case "annotations":
		return within(name, r.annotate(&r.d.Annotations))
	case "data":
		return within(name, r.embedded())
	case "platform":
		return within(name, r.platform())
	default:
		return r.Skip()
	}
}

func (r *descriptorReader) digest() error {
	s, err := r.Text()
	if err != nil {
		return err
	}
	r.d.Digest, err = identity.Parse(s)
	switch {
	case errors.Is(err, identity.ErrUnsupported):
		return &Error{Problem: "must be of a supported algorithm: " + algorithms()}
	case err != nil:
		return &Error{Problem: "must be a digest such as sha256:<64 lower case hex digits>"}
	}
	return nil
}

func (r *descriptorReader) size() error {
	if err := r.integer(&r.d.Size); err != nil {
		return err
	}
	if r.d.Size < 0 {
		return &Error{Problem: "must not be negative"}
	}
	return nil
}

// embedded reads the data member. The decoder of the library skips line
// breaks, which RFC 4648 section 3.3 forbids.
func (r *descriptorReader) embedded() error {
	s, err := r.Text()
	if err != nil {
		return err
	}
	r.hasData = true
	r.data, err = base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return &Error{Problem: "must be base64 with padding"}
	}
	return nil
}

func (r *descriptorReader) platform() error {
	p := &Platform{}
	r.d.Platform = p
	return r.Object(func(name string) error {
		if err := checkName(name, platformMembers); err != nil {
			return err
		}
		if null, err := r.Null(); null || err != nil {
			return err
		}
		switch name {
		case "architecture":
			return within(name, r.text(&p.Architecture))
		case "os":
			return within(name, r.text(&p.OS))
		case "os.version":
			return within(name, r.text(&p.OSVersion))
		case "os.features":
			return within(name, r.texts(&p.OSFeatures))
		case "variant":
			return within(name, r.text(&p.Variant))
		case "features":
			return within(name, r.texts(&p.Features))
		default:
			return r.Skip()
		}
	})
}

// check judges the descriptor as a whole. The members may come in any order.
func (r *descriptorReader) check() error {
	switch {
	case r.d.MediaType == "":
		return &Error{Field: "mediaType", Problem: "is missing"}
	case r.d.Digest.IsZero():
		return &Error{Field: "digest", Problem: "is missing"}
	case r.d.Size < 0:
		return &Error{Field: "size", Problem: "is missing"}
	case !r.hasData:
		return nil
	case int64(len(r.data)) != r.d.Size:
		return &Error{Field: "data", Problem: "must have as many bytes as size says"}
	case identity.FromBytes(r.d.Digest.Algorithm(), r.data) != r.d.Digest:
		return &Error{Field: "data", Problem: "must be the content that digest names"}
	}
	return nil
}

func algorithms() string {
	var names []string
	for _, a := range identity.Algorithms() {
		names = append(names, string(a))
	}
	return strings.Join(names, ", ")
}

func index(i int) string { return fmt.Sprintf("[%d]", i) }
