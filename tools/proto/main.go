// Command proto generates Go code from .proto files with nothing but Go: it compiles them itself, and runs the plugins
// protoc-gen-go and protoc-gen-go-grpc in the versions that its go.mod pins.
//
//	go -C tools/proto run . -root ../.. -sums DIR/generated.sum DIR/a.proto DIR/b.proto
//
// The files are named from the root, which is also where their imports are looked for; the code is written beside them.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	root := flag.String("root", ".", "the folder that files and imports are named from")
	sums := flag.String("sums", "", "the file to keep the SHA-256 sums of sources and code in, named from the root")
	flag.Parse()
	if err := run(context.Background(), *root, *sums, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "proto:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root, sums string, files []string) error {
	if len(files) == 0 {
		return errors.New("no files are named")
	}
	request, err := compile(ctx, root, files)
	if err != nil {
		return err
	}
	written := slices.Clone(files)
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		generated, err := generate(ctx, plugin, request)
		if err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
		for _, f := range generated {
			if err := os.WriteFile(filepath.Join(root, f.GetName()), []byte(f.GetContent()), 0o644); err != nil {
				return err
			}
			written = append(written, f.GetName())
		}
	}
	if sums == "" {
		return nil
	}
	return writeSums(root, sums, written)
}

// compile makes the request that plugins take: the descriptors of all files, each behind those that it imports.
func compile(ctx context.Context, root string, files []string) (*pluginpb.CodeGeneratorRequest, error) {
	c := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard, // so that comments get into the code
	}
	compiled, err := c.Compile(ctx, files...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: files,
		Parameter:      proto.String("paths=source_relative"),
	}
	for _, f := range compiled {
		request.ProtoFile = add(request.ProtoFile, f)
	}
	return request, nil
}

func add(to []*descriptorpb.FileDescriptorProto, f protoreflect.FileDescriptor) []*descriptorpb.FileDescriptorProto {
	if slices.ContainsFunc(to, func(d *descriptorpb.FileDescriptorProto) bool { return d.GetName() == f.Path() }) {
		return to
	}
	for i := range f.Imports().Len() {
		to = add(to, f.Imports().Get(i).FileDescriptor)
	}
	return append(to, protodesc.ToFileDescriptorProto(f))
}

// generate runs a plugin. They read a request from standard input and write a response to standard output.
func generate(ctx context.Context, plugin string, request *pluginpb.CodeGeneratorRequest) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "tool", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return nil, fmt.Errorf("read its response: %w", err)
	}
	if response.Error != nil {
		return nil, errors.New(response.GetError())
	}
	return response.File, nil
}

// writeSums keeps the sums in the form of sha256sum, with names from the folder of the file of sums.
func writeSums(root, sums string, files []string) error {
	slices.Sort(files)
	var b strings.Builder
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(filepath.Dir(sums), name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(content), relative)
	}
	return os.WriteFile(filepath.Join(root, sums), []byte(b.String()), 0o644)
}
