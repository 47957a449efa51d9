// Non-blocking IPv4 sockets. Failures to set one up are std::system_error with what was tried.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "guest/programs/net/file_descriptor.hpp"

namespace understudy::programs {

FileDescriptor listen_tcp(std::uint16_t port);
FileDescriptor bind_udp(std::uint16_t port);

// The next waiting connection, non-blocking and without Nagle's delay; none: no more wait, or this one cannot be had
// now.
std::optional<FileDescriptor> accept_tcp(const FileDescriptor& listener);

// What came of one read or write that must not block.
enum class IoStatus : std::uint8_t {
    kDone,        // `bytes` were moved, at least one
    kWouldBlock,  // nothing now
    kEnded,       // read: the peer sends no more
    kFailed,      // the connection is gone
};
struct IoResult {
    IoStatus status;
    std::size_t bytes;
};
IoResult read_some(const FileDescriptor& socket, std::span<char> into);
IoResult write_some(const FileDescriptor& socket, std::string_view bytes);

// A peer that goes away is an error of the write, not a signal. Call it once, before any socket is used.
void ignore_broken_pipes();

}  // namespace understudy::programs
