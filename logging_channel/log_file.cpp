#include "logging_channel/log_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/bytes.hpp"
#include "common/digest.hpp"
#include "common/error.hpp"
#include "logging_channel/guest_shape_codec.hpp"
#include "logging_channel/record.pb.h"

namespace understudy::channel {

namespace {

constexpr std::array<char, 8> kMagic = {'U', 'S', 'T', 'D', 'Y', 'L', 'O', 'G'};
constexpr std::size_t kPreambleBytes = kMagic.size() + 2 * sizeof(std::uint32_t);
constexpr std::size_t kChunkHeaderBytes = 2 * sizeof(std::uint32_t);
constexpr std::size_t kEndMarkBytes = 1 + sizeof(std::uint32_t);
constexpr std::size_t kBufferBytes = 256U << 10;
constexpr std::size_t kMaxHeaderBytes = 64U << 10;
constexpr int kCompression = 1;  // zstd level of the state

int open_or_throw(const std::string& path, int flags) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
    if (fd < 0) {
        throw Error::from_errno("cannot open " + path, errno);
    }
    return fd;
}

wire::LogFileHeader to_message(const LogHeader& header) {
    wire::LogFileHeader message;
    message.set_vm(header.vm);
    message.set_engine(header.engine);
    message.set_cpu_table_digest(header.cpu_table_digest);
    write_guest_shape(header.guest, *message.mutable_guest());
    message.set_image(header.image);
    message.set_quantum(header.quantum);
    message.set_start_time(header.start_time.count());
    message.set_command_line(header.command_line);
    message.set_recorder(header.recorder);
    message.set_base_stop(header.base.stop.value);
    message.set_base_count(header.base.count.value);
    message.set_base_clock(header.base.clock.count());
    return message;
}

std::optional<LogHeader> from_message(const wire::LogFileHeader& message) {
    auto guest = read_guest_shape(message.guest());
    if (!guest) {
        return std::nullopt;
    }
    LogHeader header;
    header.vm = message.vm();
    header.engine = message.engine();
    header.cpu_table_digest = message.cpu_table_digest();
    header.guest = std::move(*guest);
    header.image = message.image();
    header.quantum = message.quantum();
    header.start_time = std::chrono::nanoseconds(message.start_time());
    header.command_line = message.command_line();
    header.recorder = message.recorder();
    header.base = {{message.base_stop()}, {message.base_count()}, GuestTime(message.base_clock())};
    return header;
}

}  // namespace

LogWriter::LogWriter(const std::filesystem::path& path, const LogHeader& header, std::span<const std::byte> memory,
                     std::vector<std::byte> vcpu_state)
    : LogWriter(path, header, std::make_unique<QuietMemory>(memory), std::move(vcpu_state)) {}

LogWriter::LogWriter(const std::filesystem::path& path, const LogHeader& header, std::unique_ptr<StateSource> memory,
                     std::vector<std::byte> vcpu_state)
    : path_(path.string()), fd_(open_or_throw(path_, O_WRONLY | O_CREAT | O_TRUNC)), encoder_(header.base) {
    try {
        write_header(header);
        StateEncoder state(std::move(memory), std::move(vcpu_state), kCompression);
        std::vector<std::byte> chunk;
        while (state.next(chunk)) {
            if (chunk.empty()) {
                continue;
            }
            append_little_endian(buffer_, static_cast<std::uint32_t>(chunk.size()));
            append_little_endian(buffer_, checksum(chunk));
            buffer_.insert(buffer_.end(), chunk.begin(), chunk.end());
            chunk.clear();
            flush_if_full();
        }
        flush();
    } catch (...) {
        ::close(fd_);
        throw;
    }
}

LogWriter::~LogWriter() {
    try {
        flush();
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the reader will say where the log ends
    }
    ::close(fd_);
}

void LogWriter::write_header(const LogHeader& header) {
    const std::string message = to_message(header).SerializeAsString();
    if (message.size() > kMaxHeaderBytes) {
        throw Error("the VM's name or command line is too long for the log's header");
    }
    for (const char c : kMagic) {
        buffer_.push_back(static_cast<std::byte>(c));
    }
    append_little_endian(buffer_, kLogFormatVersion);
    append_little_endian(buffer_, static_cast<std::uint32_t>(message.size()));
    const auto* data = reinterpret_cast<const std::byte*>(message.data());
    buffer_.insert(buffer_.end(), data, data + message.size());
    append_little_endian(buffer_, checksum(buffer_));
}

void LogWriter::append(const Record& record) {
    encoder_.encode(record, buffer_);
    ++records_;
    flush_if_full();
}

void LogWriter::append(const EncodedPages& pages) {
    encoder_.encode(pages, buffer_);
    flush_if_full();
}

void LogWriter::flush_if_full() {
    if (buffer_.size() >= kBufferBytes) {
        flush();
    }
}

void LogWriter::flush() {
    std::size_t done = 0;
    while (done < buffer_.size()) {
        const ssize_t n = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            const int error = errno;
            written_ += done;
            buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(done));
            throw Error::from_errno("cannot write the log " + path_, error);
        }
        done += static_cast<std::size_t>(n);
    }
    written_ += done;
    buffer_.clear();
}

void LogWriter::finish() {
    buffer_.push_back(std::byte{0});
    append_little_endian(buffer_, encoder_.chain());
    flush();
}

std::string LogEnd::describe() const {
    std::string place = fmt::format("at byte {} after record {} (stop {})", offset, records, last.value);
    switch (how) {
        case How::finished:
            return fmt::format("the log ends {}", place);
        case How::unfinished:
            return fmt::format("the log ends {} without an end mark: its recorder was cut off", place);
        case How::truncated:
            return fmt::format("the log breaks off {}: {}", place, detail);
        case How::corrupted:
            return fmt::format("the log is damaged {}: {}", place, detail);
    }
    return place;
}

LogReader::LogReader(const std::filesystem::path& path) : path_(path.string()), fd_(open_or_throw(path_, O_RDONLY)) {
    try {
        read_header();
    } catch (...) {
        ::close(fd_);
        throw;
    }
}

LogReader::~LogReader() {
    ::close(fd_);
}

std::span<const std::byte> LogReader::ahead() const {
    return std::span(buffer_).subspan(position_);
}

// Tries to have `bytes` ahead; false: the file is shorter.
bool LogReader::ensure(std::size_t bytes) {
    if (ahead().size() >= bytes) {
        return true;
    }
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(position_));
    position_ = 0;
    while (buffer_.size() < bytes && !at_end_of_file_) {
        const std::size_t have = buffer_.size();
        buffer_.resize(have + std::max(kBufferBytes, bytes - have));
        const ssize_t n = ::read(fd_, buffer_.data() + have, buffer_.size() - have);
        const int error = errno;
        buffer_.resize(have + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
        if (n < 0 && error != EINTR) {
            throw Error::from_errno("cannot read the log " + path_, error);
        }
        at_end_of_file_ = n == 0;
    }
    return buffer_.size() >= bytes;
}

void LogReader::consume(std::size_t bytes) {
    position_ += bytes;
    offset_ += bytes;
}

void LogReader::read_header() {
    if (!ensure(kPreambleBytes) || std::memcmp(ahead().data(), kMagic.data(), kMagic.size()) != 0) {
        throw Error::format("{} is not a log of understudy", path_);
    }
    const auto version = read_little_endian<std::uint32_t>(ahead().subspan(kMagic.size()));
    if (version != kLogFormatVersion) {
        throw Error::format(
            "{} has log format {}; this understudy reads format {}: replay it with the version that wrote it", path_,
            version, kLogFormatVersion);
    }
    const auto length = read_little_endian<std::uint32_t>(ahead().subspan(kMagic.size() + sizeof(version)));
    const std::size_t whole = kPreambleBytes + length;
    wire::LogFileHeader message;
    std::optional<LogHeader> header;
    if (length > kMaxHeaderBytes || !ensure(whole + sizeof(std::uint32_t)) ||
        checksum(ahead().first(whole)) != read_little_endian<std::uint32_t>(ahead().subspan(whole)) ||
        !message.ParseFromArray(ahead().data() + kPreambleBytes, static_cast<int>(length)) ||
        !(header = from_message(message))) {
        throw Error::format("the header of {} is damaged: nothing in it can be replayed", path_);
    }
    header_ = std::move(*header);
    decoder_ = RecordDecoder(header_.base, header_.guest.memory);
    consume(whole + sizeof(std::uint32_t));
}

std::vector<std::byte> LogReader::read_chunk() {
    const auto damaged = [&](const char* what) {
        return Error::format("the initial state in {} {} at byte {}: nothing in it can be replayed", path_, what,
                             offset_);
    };
    if (!ensure(kChunkHeaderBytes)) {
        throw damaged("breaks off");
    }
    const auto length = read_little_endian<std::uint32_t>(ahead());
    if (length > kMaxChunkBytes) {
        throw damaged("is damaged");
    }
    if (!ensure(kChunkHeaderBytes + length)) {
        throw damaged("breaks off");
    }
    const auto chunk = ahead().subspan(kChunkHeaderBytes, length);
    if (checksum(chunk) != read_little_endian<std::uint32_t>(ahead().subspan(sizeof(length)))) {
        throw damaged("is damaged");
    }
    std::vector<std::byte> result(chunk.begin(), chunk.end());
    consume(kChunkHeaderBytes + length);
    return result;
}

std::vector<std::byte> LogReader::read_state(std::span<std::byte> memory) {
    if (memory.size() != header_.guest.memory.value) {
        throw Error::format("{} needs a guest of {} bytes of memory", path_, header_.guest.memory.value);
    }
    StateDecoder state(memory);
    while (!state.complete()) {
        if (!state.accept(read_chunk())) {
            throw Error::format("the initial state in {} is damaged before byte {}: {}", path_, offset_,
                                describe(state.fault()));
        }
    }
    return state.vcpu_state();
}

void LogReader::skip_state() {
    wire::StateChunk message;
    do {
        const auto chunk = read_chunk();
        if (!message.ParseFromArray(chunk.data(), static_cast<int>(chunk.size()))) {
            throw Error::format("the initial state in {} is damaged before byte {}", path_, offset_);
        }
    } while (!message.has_end());
}

LogEnd LogReader::end(LogEnd::How how, std::string detail) const {
    return {how, offset_, records_, decoder_.base().stop, std::move(detail)};
}

std::variant<Record, LogEnd> LogReader::next() {
    for (;;) {
        if (auto entry = next_entry()) {
            return *std::move(entry);
        }
    }
}

// Nothing: pages of a record that is still to come.
std::optional<std::variant<Record, LogEnd>> LogReader::next_entry() {
    if (!ensure(1)) {
        return end(LogEnd::How::unfinished);
    }
    if (ahead()[0] == std::byte{0}) {
        if (!ensure(kEndMarkBytes)) {
            return end(LogEnd::How::truncated, "the end mark is cut off");
        }
        const bool right = read_little_endian<std::uint32_t>(ahead().subspan(1)) == decoder_.chain();
        if (!right || ensure(kEndMarkBytes + 1)) {
            return end(LogEnd::How::corrupted, right ? "there is more behind the end mark" : "the end mark is wrong");
        }
        return end(LogEnd::How::finished);
    }
    auto decoded = decoder_.decode(ahead());
    for (std::size_t wanted = kBufferBytes; std::holds_alternative<RecordFault>(decoded); wanted *= 2) {
        const auto fault = std::get<RecordFault>(decoded);
        if (fault != RecordFault::truncated) {
            return end(LogEnd::How::corrupted, std::string(describe(fault)));
        }
        const std::size_t had = ahead().size();
        ensure(had + wanted);
        if (ahead().size() == had) {
            return end(LogEnd::How::truncated, std::string(describe(fault)));
        }
        decoded = decoder_.decode(ahead());
    }
    if (const auto* pages = std::get_if<DecodedPages>(&decoded)) {
        consume(pages->size);
        return std::nullopt;
    }
    auto& whole = std::get<DecodedRecord>(decoded);
    consume(whole.size);
    ++records_;
    return std::move(whole.record);
}

}  // namespace understudy::channel
