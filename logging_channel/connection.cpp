#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "common/error.hpp"
#include "logging_channel/channel.hpp"
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
constexpr std::size_t kMaxReasonBytes = 1000;
// How long finish() waits for the peer to take the rest and close.
constexpr std::chrono::milliseconds kLinger(1000);

void require(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "understudy: logging channel: %s\n", what);
        std::abort();
    }
}

std::span<const std::byte> as_bytes(const std::string& text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string bounded(const std::string& text) {
    return text.substr(0, kMaxReasonBytes);
}

}  // namespace

std::string printable(const asio::ip::tcp::endpoint& endpoint) {
    return endpoint.address().to_string() + ":" + std::to_string(endpoint.port());
}

Connection::Impl::Impl(Socket socket, Side side, ChannelOptions options)
    : socket_(std::move(socket)),
      side_(side),
      options_(options),
      timer_(socket_.get_executor()),
      message_(std::make_unique<wire::Message>()) {
    error_code ignored;
    peer_address_ = printable(socket_.remote_endpoint(ignored));
    socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
}

// --- The greeting ---------------------------------------------------------------------------------------------------

void Connection::Impl::greet(Greeting greeting) {
    greeting_ = std::move(greeting);
    timer_.expires_after(options_.handshake);
    timer_.async_wait([self = shared_from_this()](error_code error) {
        if (!error && self->stage_ == Stage::greeting) {
            self->fail("it did not greet in time");
        }
    });
    read();
}

void Connection::Impl::take_greeting() {
    if (!preamble_taken_) {
        const auto bytes = frames_.take(kPreambleBytes);
        if (!bytes) {
            return read();
        }
        const auto version = read_preamble(*bytes);
        if (!version) {
            return fail("it does not speak the logging channel's protocol");
        }
        preamble_taken_ = true;
        if (side_ == Side::primary) {
            send_preamble();
            flush();
        }
        if (*version != kProtocolVersion) {
            return fail("it speaks version " + std::to_string(*version) +
                        " of the logging channel, this program version " + std::to_string(kProtocolVersion) +
                        ": run the same understudy on both hosts");
        }
    }
    const auto next = frames_.next();
    if (std::holds_alternative<FrameDecoder::NeedMore>(next)) {
        return read();
    }
    if (const auto* fault = std::get_if<FrameFault>(&next)) {
        return fail("it sent " + std::string(describe(*fault)));
    }
    const auto bytes = std::get<std::span<const std::byte>>(next);
    if (!message_->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return fail("it sent a malformed message");
    }
    timer_.cancel();
    stage_ = Stage::greeted;
    const auto done = std::move(greeting_.done);
    greeting_ = {};
    done(shared_from_this(), *message_);
}

// --- In -------------------------------------------------------------------------------------------------------------

void Connection::Impl::start(Handlers handlers) {
    require(stage_ != Stage::greeting && stage_ != Stage::running, "start() before the greeting or twice");
    handlers_ = std::move(handlers);
    if (stage_ != Stage::greeted) {
        asio::post(socket_.get_executor(), [self = shared_from_this()] { self->report_failure(); });
        return;
    }
    stage_ = Stage::running;
    frames_.set_max_message(kMaxMessageBytes);
    beat();
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->take_messages(); });
}

void Connection::Impl::read() {
    const auto space = frames_.space();
    reading_ = true;
    socket_.async_read_some(
        asio::buffer(space.data(), space.size()), [self = shared_from_this()](error_code error, std::size_t size) {
            self->reading_ = false;
            if (self->stage_ == Stage::closed) {
                return;
            }
            if (error) {
                return self->fail(error == asio::error::eof ? "the peer closed the connection" : error.message());
            }
            if (self->stage_ == Stage::closing) {
                return self->take_nothing();
            }
            self->frames_.received(size);
            if (self->stage_ == Stage::greeting) {
                return self->take_greeting();
            }
            if (self->handlers_.on_heard) {
                self->handlers_.on_heard();
            }
            self->take_messages();
        });
}

// Reads on, into the void, so that what was sent last is not lost to a reset.
void Connection::Impl::take_nothing() {
    if (!reading_) {
        read();
    }
}

void Connection::Impl::take_messages() {
    while (stage_ == Stage::running) {
        const auto next = frames_.next();
        if (std::holds_alternative<FrameDecoder::NeedMore>(next)) {
            return read();
        }
        if (const auto* fault = std::get_if<FrameFault>(&next)) {
            return fail("the peer sent " + std::string(describe(*fault)));
        }
        const auto bytes = std::get<std::span<const std::byte>>(next);
        if (!message_->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
            return fail("the peer sent a malformed message");
        }
        take(*message_);
    }
}

void Connection::Impl::take(const wire::Message& message) {
    const bool backup = side_ == Side::backup;
    switch (message.kind_case()) {
        case wire::Message::kStateBegin:
            if (backup && state_in_ && !base_) {
                const auto& begin = message.state_begin();
                base_ = LogBase{{begin.stop()}, {begin.count()}, GuestTime(begin.clock())};
                return;
            }
            break;
        case wire::Message::kStateChunk:
            if (backup && base_ && !state_complete_) {
                return take_state(as_bytes(message.state_chunk()));
            }
            break;
        case wire::Message::kRecords:
            if (backup && state_complete_) {
                return take_records(as_bytes(message.records()));
            }
            break;
        case wire::Message::kFormed:
            if (backup && state_complete_) {
                return handlers_.on_formed ? handlers_.on_formed() : void();
            }
            break;
        case wire::Message::kReady:
            if (!backup) {
                return handlers_.on_ready ? handlers_.on_ready() : void();
            }
            break;
        case wire::Message::kReport:
            if (handlers_.on_report) {
                const auto& report = message.report();
                handlers_.on_report({{report.received()}, {report.replayed()}, {report.released()}});
            }
            return;
        case wire::Message::kGoodbye:
            return handlers_.on_goodbye ? handlers_.on_goodbye(bounded(message.goodbye().reason())) : void();
        case wire::Message::kHello:
        case wire::Message::kWelcome:
        case wire::Message::kRefuse:
        case wire::Message::KIND_NOT_SET:
            break;
    }
    fail("the peer sent a message out of turn (kind " + std::to_string(message.kind_case()) + ")");
}

void Connection::Impl::take_state(std::span<const std::byte> chunk) {
    if (!state_in_->accept(chunk)) {
        return fail(std::string(describe(state_in_->fault())));
    }
    if (handlers_.on_progress) {
        handlers_.on_progress(state_in_->progress());
    }
    if (state_in_->complete()) {
        state_complete_ = true;
        record_decoder_ = RecordDecoder(*base_);
        if (handlers_.on_state) {
            handlers_.on_state(*base_, state_in_->vcpu_state());
        }
    }
}

void Connection::Impl::take_records(std::span<const std::byte> bytes) {
    std::vector<ReceivedRecord> records;
    while (!bytes.empty()) {
        auto decoded = record_decoder_.decode(bytes);
        if (const auto* fault = std::get_if<RecordFault>(&decoded)) {
            return fail(std::string(describe(*fault)) + " after stop " +
                        std::to_string(record_decoder_.base().stop.value));
        }
        auto& whole = std::get<DecodedRecord>(decoded);
        bytes = bytes.subspan(whole.size);
        records.push_back({std::move(whole.record), {whole.size}});
    }
    if (handlers_.on_records) {
        handlers_.on_records(std::move(records));
    }
}

// --- The end --------------------------------------------------------------------------------------------------------

void Connection::Impl::shut() {
    stage_ = Stage::closed;
    state_out_.reset();
    state_in_.reset();
    timer_.cancel();
    error_code ignored;
    socket_.shutdown(Socket::shutdown_both, ignored);
    socket_.close(ignored);
}

void Connection::Impl::fail(std::string why) {
    if (stage_ == Stage::closed) {
        return;
    }
    shut();
    failure_ = std::move(why);
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->report_failure(); });
}

// Once, to whoever is there to hear it; between the greeting and start() that is nobody.
void Connection::Impl::report_failure() {
    if (silenced_ || !failure_) {
        return;
    }
    if (const auto failed = std::exchange(greeting_, {}).failed) {
        silenced_ = true;
        failed(*failure_);
    } else if (handlers_.on_closed) {
        silenced_ = true;
        handlers_.on_closed(*failure_);
    }
}

void Connection::Impl::close() {
    silenced_ = true;
    if (stage_ == Stage::closed || stage_ == Stage::closing) {
        return;
    }
    greeting_ = {};
    shut();
}

void Connection::Impl::finish() {
    silenced_ = true;
    if (stage_ == Stage::closed || stage_ == Stage::closing) {
        return;
    }
    flush();
    stage_ = Stage::closing;
    timer_.expires_after(kLinger);
    timer_.async_wait([self = shared_from_this()](error_code error) {
        if (!error) {
            self->shut();
        }
    });
    write();
    take_nothing();
}

// --- Out ------------------------------------------------------------------------------------------------------------

void Connection::Impl::send_preamble() {
    const auto bytes = preamble();
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
}

void Connection::Impl::send(const wire::Message& message) {
    if (!is_open()) {
        return;
    }
    frame_batch();
    const std::string bytes = message.SerializeAsString();
    append_frame(state_out_ && !message.has_state_chunk() ? behind_state_ : pending_, as_bytes(bytes));
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

// Queues the next pieces of the state; behind the last one, what was said meanwhile.
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
        frame_batch();
        state_out_.reset();
        pending_.insert(pending_.end(), behind_state_.begin(), behind_state_.end());
        behind_state_ = {};
    }
    if (more && pending_.empty()) {  // no write will end and bring this back
        asio::post(socket_.get_executor(), [self = shared_from_this()] { self->flush(); });
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
    const std::size_t size = record_encoder_.encode(record, batch_);
    if (batch_.size() >= kRecordBatchBytes) {
        frame_batch();
    }
    if (backlog() > options_.max_backlog) {
        fail("the peer does not take what is sent to it");
    }
    return {size};
}

void Connection::Impl::frame_batch() {
    if (batch_.empty()) {
        return;
    }
    wire::Message message;
    message.set_records(batch_.data(), batch_.size());
    batch_.clear();
    const std::string bytes = message.SerializeAsString();
    append_frame(state_out_ ? behind_state_ : pending_, as_bytes(bytes));
}

void Connection::Impl::set_released(StopNumber stop) {
    report_due_ = report_due_ || stop != report_.released;
    report_.released = stop;
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
    frame_batch();
    if (writing_) {
        return;  // what has gathered goes with the next write
    }
    pump_state();
    if (reports() && report_due_) {
        report_due_ = false;
        wire::Message message;
        message.mutable_report()->set_received(report_.received.value);
        message.mutable_report()->set_replayed(report_.replayed.value);
        message.mutable_report()->set_released(report_.released.value);
        append_frame(pending_, as_bytes(message.SerializeAsString()));
    }
    write();
}

void Connection::Impl::write() {
    if (writing_ || stage_ == Stage::closed) {
        return;
    }
    if (pending_.empty()) {
        if (stage_ == Stage::closing) {
            error_code ignored;
            socket_.shutdown(Socket::shutdown_send, ignored);
        }
        return;
    }
    writing_ = true;
    last_write_ = std::chrono::steady_clock::now();
    std::swap(pending_, in_flight_);
    asio::async_write(socket_, asio::buffer(in_flight_),
                      [self = shared_from_this()](error_code error, std::size_t /*size*/) {
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
    return {pending_.size() + (writing_ ? in_flight_.size() : 0) + batch_.size() + behind_state_.size()};
}

// --- The public face ------------------------------------------------------------------------------------------------

Connection::Connection(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::~Connection() {
    impl_->close();
}

void Connection::keep_alive() {
    impl_->keep_alive();
}
void Connection::start(Handlers handlers) {
    impl_->start(std::move(handlers));
}
void Connection::close() {
    impl_->close();
}
void Connection::finish() {
    impl_->finish();
}
bool Connection::is_open() const {
    return impl_->is_open();
}
const std::string& Connection::peer_address() const {
    return impl_->peer_address();
}

void Connection::welcome(const Welcome& welcome) {
    wire::Message message;
    message.mutable_welcome()->set_replica(welcome.replica);
    message.mutable_welcome()->set_generation(welcome.generation.value);
    message.mutable_welcome()->set_memory_size(welcome.memory_size.value);
    message.mutable_welcome()->set_guest(welcome.guest.data(), welcome.guest.size());
    require(message.ByteSizeLong() <= kMaxHandshakeBytes, "a welcome too long for the greeting");
    impl_->send(message);
    impl_->flush();
}

void Connection::refuse(std::string_view reason) {
    wire::Message message;
    message.mutable_refuse()->set_reason(std::string(reason.substr(0, kMaxReasonBytes)));
    impl_->send(message);
    impl_->finish();
}

void Connection::send_state(LogBase base, std::unique_ptr<StateSource> memory, std::vector<std::byte> vcpu_state,
                            std::function<void(const StateProgress&)> progress) {
    impl_->send_state(base, std::move(memory), std::move(vcpu_state), std::move(progress));
}

Bytes Connection::send_record(const Record& record) {
    return impl_->send_record(record);
}
void Connection::set_released(StopNumber stop) {
    impl_->set_released(stop);
}

void Connection::send_formed() {
    wire::Message message;
    message.mutable_formed();
    impl_->send(message);
    impl_->flush();
}

void Connection::receive_state(std::span<std::byte> memory) {
    impl_->receive_state(memory);
}

void Connection::send_ready() {
    impl_->send_ready();
}

void Connection::acknowledge(StopNumber received, StopNumber replayed) {
    impl_->set_progress(received, replayed);
    impl_->flush();
}
void Connection::set_progress(StopNumber received, StopNumber replayed) {
    impl_->set_progress(received, replayed);
}
void Connection::stop_acknowledging() {
    impl_->stop_acknowledging();
}

void Connection::send_goodbye(std::string_view reason) {
    wire::Message message;
    message.mutable_goodbye()->set_reason(std::string(reason.substr(0, kMaxReasonBytes)));
    impl_->send(message);
    impl_->flush();
}

void Connection::flush() {
    impl_->flush();
}
Bytes Connection::backlog() const {
    return impl_->backlog();
}

}  // namespace understudy::channel
