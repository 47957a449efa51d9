#include "hypervisor/replication/loop/checkpoint_stream.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "common/bytes.hpp"
#include "common/error.hpp"
#include "hypervisor/gateway/endpoint.hpp"

namespace understudy::replication {
namespace {

constexpr std::size_t kFlushAt = 256U << 10;
constexpr std::size_t kReceiveAtOnce = 256U << 10;

void send_all(int fd, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            throw Error::from_errno("the other side of the checkpoints is gone", errno);
        }
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
}

// How many arrived; 0: the other side has ended the stream.
std::size_t receive_some(int fd, std::span<std::byte> into) {
    for (;;) {
        const ssize_t n = ::recv(fd, into.data(), into.size(), 0);
        if (n >= 0) {
            return static_cast<std::size_t>(n);
        }
        if (errno != EINTR) {
            throw Error::from_errno("the other side of the checkpoints is gone", errno);
        }
    }
}

// False: the other side has ended the stream before.
bool receive_number(int fd, std::uint64_t& number) {
    std::array<std::byte, sizeof number> bytes{};
    for (std::size_t done = 0; done < bytes.size();) {
        const std::size_t n = receive_some(fd, std::span(bytes).subspan(done));
        if (n == 0) {
            return false;
        }
        done += n;
    }
    number = read_little_endian<std::uint64_t>(bytes.data());
    return true;
}

// A stream that its reader waits for.
FileDescriptor blocking(FileDescriptor connection) {
    const int flags = ::fcntl(connection.get(), F_GETFL);
    if (flags < 0 || ::fcntl(connection.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) {
        throw Error::from_errno("cannot use the connection for checkpoints", errno);
    }
    return connection;
}

void send_number(int fd, std::uint64_t number) {
    std::array<std::byte, sizeof number> bytes{};
    write_little_endian(bytes.data(), number);
    send_all(fd, bytes);
}

}  // namespace

FileDescriptor connect_to_keeper(const std::string& endpoint) {
    const network::Endpoint keeper = network::parse_endpoint(endpoint);
    if (!keeper.is_local()) {
        throw Error::format("checkpoints go in plain text, and to no other machine: {} is one; write unix:PATH",
                            endpoint);
    }
    FileDescriptor connection(::socket(keeper.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!connection ||
        ::connect(connection.get(), reinterpret_cast<const sockaddr*>(&keeper.address), keeper.length) != 0) {
        throw Error::from_errno(
            fmt::format("nobody keeps checkpoints at {}; start `understudy checkpoints --listen {}` first", endpoint,
                        endpoint),
            errno);
    }
    return connection;
}

CheckpointSender::CheckpointSender(FileDescriptor connection, Bytes memory)
    : connection_(blocking(std::move(connection))) {
    send_number(connection_.get(), memory.value);
}

void CheckpointSender::send(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) {
    records_.encode(pages_.encode(std::move(numbers), std::move(content)), buffer_);
    if (buffer_.size() >= kFlushAt) {
        flush();
    }
}

void CheckpointSender::finish(const Stop& stop, GuestTime clock, std::vector<std::byte> processor) {
    Record record;
    record.stop = {stop.number, StopKind::interrupt, RequestKind::none, stop.count, 0};
    record.input.clock = clock;
    record.delta = std::make_shared<Delta>(Delta{std::move(processor), {}});
    records_.encode(record, buffer_);
    flush();
    std::uint64_t kept = 0;
    if (!receive_number(connection_.get(), kept)) {
        throw Error("who keeps the checkpoints has ended");
    }
    if (kept != stop.number.value) {
        throw Error("who keeps the checkpoints has another one than was sent");
    }
}

void CheckpointSender::flush() {
    send_all(connection_.get(), buffer_);
    sent_.value += buffer_.size();
    buffer_.clear();
}

void CheckpointSender::shut_down() {
    ::shutdown(connection_.get(), SHUT_RDWR);
}

CheckpointKeeper::CheckpointKeeper(FileDescriptor connection) : connection_(blocking(std::move(connection))) {
    std::uint64_t memory = 0;
    if (!receive_number(connection_.get(), memory) || memory == 0 || memory % kPageBytes != 0) {
        throw Error("what connected sends no checkpoints: it must be `understudy run --checkpoint-to`");
    }
    memory_ = std::make_unique<machine::GuestMemory>(Bytes{memory}, machine::GuestMemory::Population::later);
    records_.emplace(channel::LogBase{}, Bytes{memory});
}

bool CheckpointKeeper::take_next() {
    const auto record = next_record();
    if (!record) {
        return false;
    }
    take(*record);
    ++figures_.checkpoints;
    send_number(connection_.get(), record->stop.number.value);
    return true;
}

std::optional<Record> CheckpointKeeper::next_record() {
    for (;;) {
        auto entry = records_->decode(std::span(buffer_).subspan(begin_));
        if (const auto* pages = std::get_if<channel::DecodedPages>(&entry)) {
            begin_ += pages->size;
        } else if (auto* record = std::get_if<channel::DecodedRecord>(&entry)) {
            begin_ += record->size;
            return std::move(record->record);
        } else if (const auto fault = std::get<channel::RecordFault>(entry); fault != channel::RecordFault::truncated) {
            throw Error::format("what arrives is no checkpoint: {}", channel::describe(fault));
        } else if (!receive()) {
            return std::nullopt;
        }
    }
}

// False: the stream has ended.
bool CheckpointKeeper::receive() {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(std::exchange(begin_, 0)));
    const std::size_t had = buffer_.size();
    buffer_.resize(had + kReceiveAtOnce);
    const std::size_t n = receive_some(connection_.get(), std::span(buffer_).subspan(had));
    buffer_.resize(had + n);
    figures_.bytes += n;
    return n > 0;
}

// All of it has arrived, so that a host that dies leaves the checkpoint before or this one.
void CheckpointKeeper::take(const Record& checkpoint) {
    if (!checkpoint.delta) {
        throw Error("what arrives is no checkpoint: a record without a processor");
    }
    for (const EncodedPages& pages : checkpoint.delta->pages) {
        const auto content = pages_.decode(pages);
        if (!content) {
            throw Error("what arrives is no checkpoint: its pages do not decode");
        }
        for (std::size_t i = 0; i < pages.numbers.size(); ++i) {
            const auto page = memory_->all().subspan(pages.numbers[i] * kPageBytes, kPageBytes);
            if (content->empty()) {
                std::ranges::fill(page, std::byte{0});
            } else {
                std::memcpy(page.data(), content->data() + i * kPageBytes, kPageBytes);
            }
        }
        figures_.pages += pages.numbers.size();
    }
    processor_ = checkpoint.delta->processor;
}

}  // namespace understudy::replication
