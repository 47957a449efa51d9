// What goes out over a Connection: messages with one write at a time, the state piece by piece before them, heartbeats
// when there is nothing else to say.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "common/bytes.hpp"
#include "common/error.hpp"
#include "logging_channel/connection_impl.hpp"

namespace understudy::channel {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// While a state is under way, this much of it waits to be written.
constexpr std::size_t kStateAheadBytes = 1U << 20;
// Of the state's encoder, each of which looks at a megabyte at the most: what else waits on this thread goes between.
constexpr int kStateCallsPerTurn = 4;
// A write buffer that grew beyond this is given back when it is empty.
constexpr std::size_t kKeptBufferBytes = 4U << 20;

}  // namespace

void Connection::Impl::send_preamble() {
    const auto bytes = preamble();
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
}

void Connection::Impl::send(const wire::Message& message) {
    if (!is_open()) {
        return;
    }
    send_batch();
    if (message.has_state_chunk()) {
        append_message(pending_, as_bytes(message.SerializeAsString()));
    } else {
        queue(message);
    }
}

void Connection::Impl::queue(const wire::Message& message) {
    const std::string bytes = message.SerializeAsString();
    const bool waits = state_out_ || !behind_state_.empty();
    append_message(waits ? behind_state_.emplace_back() : pending_, as_bytes(bytes));
}

void Connection::Impl::send_state(LogBase base, std::unique_ptr<StateSource> memory, std::vector<std::byte> vcpu_state,
                                  std::function<void(const StateProgress&)> progress) {
    if (!is_open()) {
        return;
    }
    wire::Message message;
    message.mutable_state_begin()->set_stop(base.stop.value);
    message.mutable_state_begin()->set_count(base.count.value);
    message.mutable_state_begin()->set_clock(base.clock.count());
    send(message);
    state_out_ = std::make_unique<OutgoingState>(OutgoingState{
        StateEncoder(std::move(memory), std::move(vcpu_state), options_.compression), std::move(progress)});
    record_encoder_ = RecordEncoder(base);
    flush();
}

// What was said while the state was under way, as far as the socket takes it.
void Connection::Impl::pump_behind_state() {
    while (!state_out_ && !behind_state_.empty() && pending_.size() < kStateAheadBytes) {
        const auto& message = behind_state_.front();
        pending_.insert(pending_.end(), message.begin(), message.end());
        behind_state_.pop_front();
    }
}

// Queues the next pieces of the state.
void Connection::Impl::pump_state() {
    if (!state_out_ || pumping_) {
        return;
    }
    pumping_ = true;
    std::vector<std::byte> chunk;
    wire::Message message;
    bool more = true;
    for (int calls = 0; more && calls < kStateCallsPerTurn && pending_.size() < kStateAheadBytes; ++calls) {
        chunk.clear();
        try {
            more = state_out_->encoder.next(chunk);
        } catch (const Error& error) {
            pumping_ = false;
            return fail(error.what());
        }
        if (!chunk.empty()) {
            message.set_state_chunk(chunk.data(), chunk.size());
            send(message);
        }
    }
    const auto progress = state_out_->progress;
    const StateProgress reached = state_out_->encoder.progress();
    if (!more) {
        send_batch();
        state_out_.reset();
    }
    if (more && pending_.empty()) {  // no write will end and bring this back
        asio::post(stream_.get_executor(), [self = shared_from_this()] { self->flush(); });
    }
    if (progress) {
        progress(reached);
    }
    pumping_ = false;
}

Bytes Connection::Impl::send_record(const Record& record) {
    if (!is_open()) {
        return {0};
    }
    const std::size_t size = std::exchange(sent_ahead_.value, 0) + record_encoder_.encode(record, batch_);
    batched();
    return {size};
}

void Connection::Impl::send_pages(const EncodedPages& pages) {
    if (is_open()) {
        sent_ahead_.value += record_encoder_.encode(pages, batch_);
        batched();
    }
}

void Connection::Impl::batched() {
    if (batch_.size() >= kRecordBatchBytes) {
        send_batch();
    }
    if (backlog() > options_.max_backlog) {
        fail("the peer does not take what is sent to it");
    }
}

void Connection::Impl::send_batch() {
    if (batch_.empty()) {
        return;
    }
    wire::Message message;
    message.set_records(batch_.data(), batch_.size());
    batch_.clear();
    queue(message);
}

void Connection::Impl::set_released(StopNumber stop) {
    report_due_ = report_due_ || stop != report_.released;
    report_.released = stop;
}

void Connection::Impl::send_goodbye(const Goodbye& goodbye) {
    if (std::exchange(state_out_, nullptr) || !behind_state_.empty()) {
        behind_state_ = {};
        batch_.clear();
    }
    wire::Message message;
    message.mutable_goodbye()->set_reason(bounded_reason(goodbye.reason));
    message.mutable_goodbye()->set_exit_status(goodbye.exit_status);
    message.mutable_goodbye()->set_fault_report(goodbye.fault_report.substr(0, kMaxFaultReportBytes));
    send(message);
    flush();
}

// With the state the backup has every record up to its stop; said even if no record ever follows.
void Connection::Impl::send_ready() {
    wire::Message message;
    message.mutable_ready();
    send(message);
    if (base_) {
        set_progress(std::max(report_.received, base_->stop), std::max(report_.replayed, base_->stop));
        report_due_ = true;
    }
    flush();
}

void Connection::Impl::set_progress(StopNumber received, StopNumber replayed) {
    if (!may_acknowledge_) {
        return;
    }
    report_due_ = report_due_ || received != report_.received || replayed != report_.replayed;
    report_.received = received;
    report_.replayed = replayed;
}

void Connection::Impl::flush() {
    if (!is_open()) {
        return;
    }
    send_batch();
    if (writing_) {
        return;  // what has gathered goes with the next write
    }
    pump_state();
    pump_behind_state();
    if (reports() && report_due_) {
        report_due_ = false;
        wire::Message message;
        message.mutable_report()->set_received(report_.received.value);
        message.mutable_report()->set_replayed(report_.replayed.value);
        message.mutable_report()->set_released(report_.released.value);
        append_message(pending_, as_bytes(message.SerializeAsString()));
    }
    write();
}

void Connection::Impl::write() {
    if (writing_ || !open_for_bytes_ || stage_ == Stage::closed) {
        return;
    }
    if (pending_.empty()) {
        if (stage_ == Stage::closing) {
            error_code ignored;
            stream_.socket().shutdown(Socket::shutdown_send, ignored);
        }
        return;
    }
    writing_ = true;
    last_write_ = std::chrono::steady_clock::now();
    std::swap(pending_, in_flight_);
    // Asked after each part that the kernel took, but the last.
    const auto before = written_.value;
    const auto count = [self = shared_from_this(), before](error_code error, std::size_t size) {
        self->written_.value = before + size;
        return asio::transfer_all()(error, size);
    };
    asio::async_write(stream_, asio::buffer(in_flight_), count,
                      [self = shared_from_this(), before](error_code error, std::size_t size) {
                          self->written_.value = before + size;
                          self->writing_ = false;
                          if (self->stage_ == Stage::closed) {
                              return;
                          }
                          if (error) {
                              return self->fail(error.message());
                          }
                          if (self->in_flight_.capacity() > kKeptBufferBytes) {
                              self->in_flight_ = {};
                          }
                          self->in_flight_.clear();
                          self->flush();
                          self->write();
                      });
}

void Connection::Impl::tick() {
    if (!reports()) {
        return;
    }
    if (std::chrono::steady_clock::now() - last_write_ >= options_.heartbeat / 2) {
        report_due_ = true;
        flush();
    }
    beat();
}

// Whatever was sent says "I am here" as well as a heartbeat does.
void Connection::Impl::beat() {
    const auto now = std::chrono::steady_clock::now();
    const bool silent = now - last_write_ >= options_.heartbeat;  // or the socket takes nothing
    timer_.expires_at((silent ? now : last_write_) + options_.heartbeat);
    timer_.async_wait([self = shared_from_this()](error_code error) {
        if (error || !self->reports()) {
            return;
        }
        if (std::chrono::steady_clock::now() - self->last_write_ >= self->options_.heartbeat) {
            self->report_due_ = true;
            self->flush();
        }
        self->beat();
    });
}

Bytes Connection::Impl::backlog() const {
    return {pending_.size() + (writing_ ? in_flight_.size() : 0) + batch_.size()};
}

}  // namespace understudy::channel
