// The frames between the gateway and the guest, for tcpdump and Wireshark: what explains a connection that ended as it
// should not have.
//
// The format is pcap's with nanoseconds, Ethernet, of each frame the first kSnapBytes: the headers. A file that has
// reached `limit` gets the suffix .1, in place of the one before, and is begun anew: of an endless conversation there
// are the last frames.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "common/file_descriptor.hpp"
#include "common/units.hpp"

namespace understudy::network {

class Capture {
  public:
    static constexpr std::size_t kSnapBytes = 128;

    // Throws understudy::Error when the file cannot be made.
    explicit Capture(std::string path, Bytes limit = 32_MiB);
    ~Capture();  // writes what is left
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

    // A frame that passes now, in either direction. A file that cannot be written ends the capture, and nothing else.
    void frame(std::span<const std::byte> bytes);

  private:
    void begin();
    void flush();

    std::string path_;
    Bytes limit_;
    FileDescriptor file_;
    Bytes size_;
    std::vector<std::byte> buffer_;
};

}  // namespace understudy::network
