// What a replica has to say to the gateway, until its socket takes it. Used by one thread.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "common/passage.hpp"
#include "hypervisor/gateway/protocol.hpp"

namespace understudy::network {

// Messages on their way to the gateway. When it does not drain them the oldest frames go, as a NIC's would.
class SendQueue {
  public:
    static constexpr std::size_t kMaxQueuedBytes = std::size_t{4} << 20;

    void push_frame(std::span<const std::byte> frame) {
        ++frames_.given;
        Message& message = messages_.emplace_back();
        message.bytes.reserve(kMessageHeaderSize + frame.size());
        append_frame(message.bytes, frame);
        bytes_ += message.bytes.size();
        while (bytes_ > kMaxQueuedBytes) {
            const auto oldest = first_untouched();
            forget(*oldest);
            messages_.erase(oldest);
        }
    }

    // A hello goes before the frames, behind one that is half written.
    void push_hello(const Hello& hello, MessageKind kind) {
        Message message{.bytes = {}, .is_hello = true};
        append_hello(message.bytes, hello, kind);
        bytes_ += message.bytes.size();
        messages_.insert(first_untouched(), std::move(message));
    }

    // What to write next, into `parts`; how many of them are used. With `hellos_only`, nothing that is no hello.
    [[nodiscard]] std::size_t gather(std::span<iovec> parts, bool hellos_only) {
        std::size_t count = 0;
        while (count < std::min(parts.size(), messages_.size()) && (messages_[count].is_hello || !hellos_only)) {
            const std::size_t skip = count == 0 ? partial_ : 0;
            std::vector<std::byte>& bytes = messages_[count].bytes;
            parts[count] = {.iov_base = bytes.data() + skip, .iov_len = bytes.size() - skip};
            ++count;
        }
        return count;
    }

    // So much of it was written.
    void sent(std::size_t bytes) {
        partial_ += bytes;
        while (!messages_.empty() && partial_ >= messages_.front().bytes.size()) {
            partial_ -= messages_.front().bytes.size();
            forget(messages_.front());
            messages_.pop_front();
        }
    }

    // The connection is gone: a frame half written starts from its beginning, hellos are the next connection's to say.
    void disconnected() {
        partial_ = 0;
        std::erase_if(messages_, [this](const Message& message) {
            bytes_ -= message.is_hello ? message.bytes.size() : 0;
            return message.is_hello;
        });
    }

    void clear() {
        messages_.clear();
        bytes_ = 0;
        partial_ = 0;
        frames_.gone = frames_.given;
    }

    // In frames. One that is half written is here still.
    [[nodiscard]] Passage frames() const { return frames_; }

  private:
    struct Message {
        std::vector<std::byte> bytes;
        bool is_hello = false;
    };

    // It is written, or dropped.
    void forget(const Message& message) {
        bytes_ -= message.bytes.size();
        frames_.gone += message.is_hello ? 0 : 1;
    }

    [[nodiscard]] std::deque<Message>::iterator first_untouched() {
        auto position = messages_.begin() + (partial_ > 0 ? 1 : 0);
        while (position != messages_.end() && position->is_hello) {
            ++position;
        }
        return position;
    }

    std::deque<Message> messages_;  // at most one begun frame, then hellos, then frames
    std::size_t bytes_ = 0;
    std::size_t partial_ = 0;  // of the first
    Passage frames_;
};

}  // namespace understudy::network
