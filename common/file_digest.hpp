// What tells one file's content from another's: two hosts that boot a guest from the same image compare this.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "common/file_descriptor.hpp"

namespace understudy {

// XXH3-128 of a file's whole content, and its length. Against accidents (an image built twice, a copy cut short), not
// against somebody who wants a collision.
struct FileDigest {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    std::uint64_t bytes = 0;

    bool operator==(const FileDigest&) const = default;
    // 32 hexadecimal digits, as xxh128sum prints them; the length is not among them.
    [[nodiscard]] std::string text() const;
};

// Reads the file from its beginning to the length that it has when this is called, through a buffer of 1 MiB; the
// descriptor's position stays. As fast as the file can be read (gigabytes a second from the page cache), so nothing is
// remembered between calls. From any thread. `name` is for errors. Throws understudy::Error when it is no regular file,
// cannot be read, or became shorter meanwhile.
[[nodiscard]] FileDigest digest_file(const FileDescriptor& file, const std::string& name);
// The same of a path.
[[nodiscard]] FileDigest digest_file(const std::filesystem::path& path);

}  // namespace understudy
