#include "hypervisor/gateway/capture.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <utility>

#include "common/bytes.hpp"
#include "common/error.hpp"

namespace understudy::network {
namespace {

constexpr std::uint32_t kMagicNanoseconds = 0xa1b23c4d;
constexpr std::uint16_t kMajor = 2;
constexpr std::uint16_t kMinor = 4;
constexpr std::uint32_t kEthernet = 1;
constexpr std::size_t kBufferBytes = std::size_t{64} << 10;

}  // namespace

Capture::Capture(std::string path, Bytes limit) : path_(std::move(path)), limit_(limit) {
    begin();
    if (!file_) {
        throw Error::from_errno("cannot write " + path_, errno);
    }
}

Capture::~Capture() {
    flush();
}

void Capture::begin() {
    file_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    size_ = {};
    append_little_endian(buffer_, kMagicNanoseconds);
    append_little_endian(buffer_, kMajor);
    append_little_endian(buffer_, kMinor);
    append_little_endian(buffer_, std::uint64_t{0});  // time zone, accuracy
    append_little_endian(buffer_, static_cast<std::uint32_t>(kSnapBytes));
    append_little_endian(buffer_, kEthernet);
}

void Capture::frame(std::span<const std::byte> bytes) {
    if (!file_) {
        return;
    }
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    const auto kept = bytes.first(std::min(bytes.size(), kSnapBytes));
    append_little_endian(buffer_, static_cast<std::uint32_t>(now.tv_sec));
    append_little_endian(buffer_, static_cast<std::uint32_t>(now.tv_nsec));
    append_little_endian(buffer_, static_cast<std::uint32_t>(kept.size()));
    append_little_endian(buffer_, static_cast<std::uint32_t>(bytes.size()));
    buffer_.insert(buffer_.end(), kept.begin(), kept.end());
    if (buffer_.size() >= kBufferBytes) {
        flush();
    }
}

void Capture::flush() {
    if (!file_) {
        return;
    }
    const ssize_t written = ::write(file_.get(), buffer_.data(), buffer_.size());
    const bool whole = written == static_cast<ssize_t>(buffer_.size());
    size_.value += buffer_.size();
    buffer_.clear();
    if (!whole) {
        file_.reset();
    } else if (size_ >= limit_) {
        std::rename(path_.c_str(), (path_ + ".1").c_str());
        begin();
    }
}

}  // namespace understudy::network
