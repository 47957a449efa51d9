#include "logging_channel/state_codec.hpp"

#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "common/bytes.hpp"
#include "common/digest.hpp"
#include "common/require.hpp"
#include "logging_channel/record.pb.h"

namespace understudy::channel {

namespace {

constexpr std::size_t kWindowsPerCall = 4;

bool is_zero(std::span<const std::byte> page) {
    return page[0] == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

std::uint64_t digest_of_run(std::uint64_t first, std::span<const std::byte> pages, std::uint64_t before) {
    std::byte number[sizeof(first)];
    write_little_endian(number, first);
    return digest(pages, digest(number, before));
}

void append_message(const wire::StateChunk& message, std::vector<std::byte>& out) {
    const std::size_t at = out.size();
    out.resize(at + message.ByteSizeLong());
    message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(out.data() + at));
}

// Compresses where that makes it smaller.
void set_data(wire::PageRun& run, std::span<const std::byte> pages, int level) {
    if (level != 0) {
        std::string& data = *run.mutable_data();
        data.resize(ZSTD_compressBound(pages.size()));
        const std::size_t size = ZSTD_compress(data.data(), data.size(), pages.data(), pages.size(), level);
        if (ZSTD_isError(size) == 0 && size < pages.size()) {
            data.resize(size);
            run.set_zstd(true);
            return;
        }
    }
    run.set_data(pages.data(), pages.size());
}

}  // namespace

void QuietMemory::read(std::size_t offset, std::span<std::byte> into) {
    std::memcpy(into.data(), memory_.subspan(offset, into.size()).data(), into.size());
}

StateEncoder::StateEncoder(std::unique_ptr<StateSource> memory, std::vector<std::byte> vcpu_state, int compression)
    : memory_(std::move(memory)),
      pages_(memory_->size().value / kPageBytes),
      vcpu_state_(std::move(vcpu_state)),
      compression_(compression),
      digest_(memory_->size().value) {
    require(memory_->size().value % kPageBytes == 0 && memory_->size().value <= kMaxMemoryBytes,
            "memory is not whole pages");
    require(vcpu_state_.size() <= kMaxVcpuStateBytes, "too large a vCPU state");
}

// The pages from page_ on.
void StateEncoder::load_window() {
    window_at_ = page_;
    window_.resize(std::min(kPagesPerChunk, pages_ - page_) * kPageBytes);
    memory_->read(page_ * kPageBytes, window_);
}

// False: no page is left.
bool StateEncoder::next_run(std::vector<std::byte>& out) {
    const auto window_end = [&] { return window_at_ + window_.size() / kPageBytes; };
    const auto zero = [&](std::size_t page) {
        return is_zero(std::span(window_).subspan((page - window_at_) * kPageBytes, kPageBytes));
    };
    for (std::size_t windows = 0; windows < kWindowsPerCall; ++windows) {
        while (page_ < window_end() && zero(page_)) {
            ++page_;
        }
        if (page_ < window_end()) {
            break;
        }
        if (page_ == pages_) {
            return false;
        }
        load_window();
    }
    const std::size_t first = page_;
    while (page_ < window_end() && !zero(page_)) {
        ++page_;
    }
    if (page_ == first) {
        return true;  // enough looked at for now
    }
    const auto pages = std::span(window_).subspan((first - window_at_) * kPageBytes, (page_ - first) * kPageBytes);
    digest_ = digest_of_run(first, pages, digest_);
    pages_sent_ += page_ - first;

    wire::StateChunk message;
    message.mutable_pages()->set_first(first);
    message.mutable_pages()->set_count(static_cast<std::uint32_t>(page_ - first));
    set_data(*message.mutable_pages(), pages, compression_);
    append_message(message, out);
    return true;
}

bool StateEncoder::next(std::vector<std::byte>& out) {
    wire::StateChunk message;
    switch (stage_) {
        case Stage::pages:
            if (next_run(out)) {
                return true;
            }
            stage_ = Stage::vcpu;
            [[fallthrough]];
        case Stage::vcpu:
            digest_ = digest(vcpu_state_, digest_);
            message.set_vcpu(vcpu_state_.data(), vcpu_state_.size());
            append_message(message, out);
            stage_ = Stage::end;
            return true;
        case Stage::end:
            message.mutable_end()->set_pages(pages_sent_);
            message.mutable_end()->set_digest(digest_);
            append_message(message, out);
            stage_ = Stage::over;
            return true;
        case Stage::over:
            return false;
    }
    return false;
}

StateProgress StateEncoder::progress() const {
    return {{page_ * kPageBytes}, memory_->size()};
}

std::string_view describe(StateFault fault) {
    switch (fault) {
        case StateFault::malformed:
            return "a chunk of the state does not parse";
        case StateFault::bad_run:
            return "a run of pages does not fit the memory";
        case StateFault::bad_compression:
            return "a run of pages does not decompress";
        case StateFault::bad_order:
            return "the chunks of the state are out of order";
        case StateFault::too_large:
            return "the vCPU's state is too large";
        case StateFault::bad_digest:
            return "the digest of the state is wrong";
    }
    return "the state has an unknown fault";
}

StateDecoder::StateDecoder(std::span<std::byte> memory) : memory_(memory), digest_(memory.size()) {
    require(memory.size() % kPageBytes == 0 && memory.size() <= kMaxMemoryBytes, "memory is not whole pages");
}

bool StateDecoder::refuse(StateFault fault) {
    fault_ = fault;
    return false;
}

bool StateDecoder::accept_run(std::uint64_t first, std::uint32_t count, std::span<const std::byte> data, bool zstd) {
    const std::uint64_t pages = memory_.size() / kPageBytes;
    const bool fits =
        count > 0 && count <= kPagesPerChunk && first >= next_page_ && first < pages && count <= pages - first;
    if (!fits || (!zstd && data.size() != count * kPageBytes)) {
        return refuse(StateFault::bad_run);
    }
    const auto target = memory_.subspan(first * kPageBytes, count * kPageBytes);
    if (!zstd) {
        std::memcpy(target.data(), data.data(), data.size());
    } else if (ZSTD_decompress(target.data(), target.size(), data.data(), data.size()) != target.size()) {
        return refuse(StateFault::bad_compression);
    }
    digest_ = digest_of_run(first, target, digest_);
    next_page_ = first + count;
    pages_received_ += count;
    return true;
}

bool StateDecoder::accept(std::span<const std::byte> chunk) {
    wire::StateChunk message;
    if (chunk.size() > kMaxChunkBytes || !message.ParseFromArray(chunk.data(), static_cast<int>(chunk.size()))) {
        return refuse(StateFault::malformed);
    }
    switch (message.piece_case()) {
        case wire::StateChunk::kPages: {
            const wire::PageRun& run = message.pages();
            return stage_ == Stage::pages ? accept_run(run.first(), run.count(), as_bytes(run.data()), run.zstd())
                                          : refuse(StateFault::bad_order);
        }
        case wire::StateChunk::kVcpu: {
            if (stage_ != Stage::pages) {
                return refuse(StateFault::bad_order);
            }
            if (message.vcpu().size() > kMaxVcpuStateBytes) {
                return refuse(StateFault::too_large);
            }
            const auto bytes = as_bytes(message.vcpu());
            vcpu_state_.assign(bytes.begin(), bytes.end());
            digest_ = digest(vcpu_state_, digest_);
            stage_ = Stage::end;
            return true;
        }
        case wire::StateChunk::kEnd:
            if (stage_ != Stage::end) {
                return refuse(StateFault::bad_order);
            }
            if (message.end().pages() != pages_received_ || message.end().digest() != digest_) {
                return refuse(StateFault::bad_digest);
            }
            stage_ = Stage::over;
            return true;
        case wire::StateChunk::PIECE_NOT_SET:
            break;
    }
    return refuse(StateFault::malformed);
}

StateProgress StateDecoder::progress() const {
    return {{stage_ == Stage::pages ? next_page_ * kPageBytes : memory_.size()}, {memory_.size()}};
}

}  // namespace understudy::channel
