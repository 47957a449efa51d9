// What has arrived on a stream and was not read yet.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest/kernel/buffers.hpp"
#include "guest/kernel/net/lwip.hpp"

namespace understudy::kernel {

// Received bytes in arrival order. The buffers are chained by pbuf::next alone: one pbuf can be taken off the front
// without a walk, which lwIP's own chains (with total lengths) do not allow.
class ReceiveQueue {
  public:
    ReceiveQueue() = default;
    ReceiveQueue(const ReceiveQueue&) = delete;
    ReceiveQueue& operator=(const ReceiveQueue&) = delete;
    ~ReceiveQueue() { clear(); }

    [[nodiscard]] std::size_t size() const { return size_; }

    // Takes over the chain.
    void append(pbuf* chain) {
        (tail_ == nullptr ? head_ : tail_->next) = chain;
        for (pbuf* piece = chain; piece != nullptr; piece = piece->next) {
            size_ += piece->len;
            tail_ = piece;
        }
    }

    std::size_t take(Buffers& to) {
        std::size_t taken = 0;
        while (head_ != nullptr && to.remaining() != 0) {
            const std::size_t count = to.put(payload(head_, offset_), head_->len - offset_);
            taken += count;
            offset_ += count;
            if (offset_ == head_->len) {
                drop_front();
            }
        }
        size_ -= taken;
        return taken;
    }

    std::size_t peek(Buffers& to) const {
        std::size_t seen = 0;
        std::size_t offset = offset_;
        for (const pbuf* piece = head_; piece != nullptr && to.remaining() != 0; piece = piece->next) {
            seen += to.put(payload(piece, offset), piece->len - offset);
            offset = 0;
        }
        return seen;
    }

    void clear() {
        while (head_ != nullptr) {
            drop_front();
        }
        size_ = 0;
    }

  private:
    static const std::uint8_t* payload(const pbuf* piece, std::size_t offset) {
        return static_cast<const std::uint8_t*>(piece->payload) + offset;
    }
    void drop_front() {
        pbuf* front = head_;
        head_ = front->next;
        tail_ = head_ == nullptr ? nullptr : tail_;
        offset_ = 0;
        front->next = nullptr;
        pbuf_free(front);
    }

    pbuf* head_ = nullptr;
    pbuf* tail_ = nullptr;
    std::size_t offset_ = 0;  // read already from the head
    std::size_t size_ = 0;
};

}  // namespace understudy::kernel
