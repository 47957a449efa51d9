#include <boost/asio/post.hpp>
#include <utility>

#include "common/require.hpp"
#include "logging_channel/channel.hpp"
#include "logging_channel/connection_impl.hpp"
#include "logging_channel/guest_shape_codec.hpp"

namespace understudy::channel {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t kMaxReasonBytes = 1000;
// How long finish() waits for the peer to take the rest and close.
constexpr std::chrono::milliseconds kLinger(1000);

}  // namespace

std::string printable(const asio::ip::tcp::endpoint& endpoint) {
    return endpoint.address().to_string() + ":" + std::to_string(endpoint.port());
}

std::string bounded_reason(std::string_view reason) {
    return std::string(reason.substr(0, kMaxReasonBytes));
}

Connection::Impl::Impl(Socket socket, Side side, const ChannelOptions& options)
    : side_(side),
      options_(options),
      stream_(std::move(socket), options.tls, side == Side::primary ? tls::Side::acceptor : tls::Side::dialer),
      timer_(stream_.get_executor()),
      message_(std::make_unique<wire::Message>()) {
    error_code ignored;
    stream_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
}

// --- The greeting and the start --------------------------------------------------------------------------------------

void Connection::Impl::greet(Greeting greeting) {
    greeting_ = std::move(greeting);
    timer_.expires_after(options_.handshake);
    timer_.async_wait([self = shared_from_this()](error_code error) {
        if (!error && self->stage_ == Stage::greeting) {
            self->fail("it did not greet in time");
        }
    });
    stream_.async_handshake([self = shared_from_this()](error_code error) {
        if (self->stage_ != Stage::greeting) {
            return;
        }
        if (error) {
            self->unfit_ = tls::is_refusal(error);
            return self->fail(self->stream_.describe(error));
        }
        self->open_for_bytes_ = true;
        self->flush();
        self->read();
    });
}

std::string Connection::Impl::objection_to_peer(const VmId& vm) {
    return stream_.encrypted() ? tls::objection_to(stream_.peer(), tls::Role::host, vm) : std::string();
}

// TLS says what a record is in its first byte, and in the second that it is TLS.
std::string Connection::Impl::strange_bytes() const {
    constexpr std::byte kAlert{0x15};
    constexpr std::byte kHandshake{0x16};
    constexpr std::byte kTls{0x03};
    const auto bytes = reader_.ahead();
    const bool is_tls =
        !stream_.encrypted() && bytes.size() >= 2 && bytes[1] == kTls && (bytes[0] == kAlert || bytes[0] == kHandshake);
    return is_tls ? "it speaks TLS: give both sides --tls" : std::string();
}

std::string Connection::Impl::end_without_words() const {
    const bool unheard = stage_ == Stage::greeting && side_ == Side::backup && !stream_.encrypted() && !preamble_taken_;
    return unheard ? "it closed the connection without a word (if it was given --tls, give it here, too)"
                   : "the peer closed the connection";
}

void Connection::Impl::take_greeting() {
    if (!preamble_taken_) {
        const std::string strange = strange_bytes();
        const auto bytes = reader_.take(kPreambleBytes);
        if (!bytes) {
            return read();
        }
        const auto version = read_preamble(*bytes);
        if (!version) {
            unfit_ = true;
            return fail(strange.empty() ? "it does not speak the logging channel's protocol" : strange);
        }
        preamble_taken_ = true;
        if (side_ == Side::primary) {
            send_preamble();
            flush();
        }
        if (*version != kProtocolVersion) {
            unfit_ = true;
            return fail("it speaks version " + std::to_string(*version) +
                        " of the logging channel, this program version " + std::to_string(kProtocolVersion) +
                        ": run the same understudy on both hosts");
        }
    }
    const auto next = reader_.next();
    if (std::holds_alternative<MessageReader::NeedMore>(next)) {
        return read();
    }
    if (const auto* fault = std::get_if<MessageReader::Fault>(&next)) {
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

void Connection::Impl::start(Handlers handlers) {
    require(stage_ != Stage::greeting && stage_ != Stage::running, "start() before the greeting or twice");
    handlers_ = std::move(handlers);
    if (stage_ != Stage::greeted) {
        asio::post(stream_.get_executor(), [self = shared_from_this()] { self->report_failure(); });
        return;
    }
    stage_ = Stage::running;
    reader_.set_max_message(kMaxMessageBytes);
    beat();
    asio::post(stream_.get_executor(), [self = shared_from_this()] { self->take_messages(); });
}

// --- The end --------------------------------------------------------------------------------------------------------

void Connection::Impl::shut() {
    stage_ = Stage::closed;
    state_out_.reset();
    state_in_.reset();
    timer_.cancel();
    stream_.close();
}

void Connection::Impl::fail(std::string why) {
    if (stage_ == Stage::closed) {
        return;
    }
    shut();
    failure_ = std::move(why);
    asio::post(stream_.get_executor(), [self = shared_from_this()] { self->report_failure(); });
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

// --- The public face ------------------------------------------------------------------------------------------------

Connection::Connection(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::~Connection() {
    impl_->close();
}

void Connection::keep_alive() {
    impl_->keep_alive();
}
void Connection::tick() {
    impl_->tick();
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

void Connection::welcome(const Welcome& welcome) {
    wire::Message message;
    message.mutable_welcome()->set_replica(welcome.replica);
    message.mutable_welcome()->set_generation(welcome.generation.value);
    write_guest_shape(welcome.guest, *message.mutable_welcome()->mutable_guest());
    impl_->send(message);
    impl_->flush();
}

void Connection::refuse(std::string_view reason, Refusal refusal) {
    wire::Message message;
    message.mutable_refuse()->set_reason(bounded_reason(reason));
    message.mutable_refuse()->set_for_now(refusal == Refusal::for_now);
    impl_->send(message);
    impl_->finish();
}

void Connection::send_state(LogBase base, std::unique_ptr<StateSource> memory, std::vector<std::byte> vcpu_state,
                            std::function<void(const StateProgress&)> progress) {
    impl_->send_state(base, std::move(memory), std::move(vcpu_state), std::move(progress));
}

void Connection::send_pages(const EncodedPages& pages) {
    impl_->send_pages(pages);
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

void Connection::set_progress(StopNumber received, StopNumber replayed) {
    impl_->set_progress(received, replayed);
}
void Connection::stop_acknowledging() {
    impl_->stop_acknowledging();
}

void Connection::send_goodbye(const Goodbye& goodbye) {
    impl_->send_goodbye(goodbye);
}

void Connection::flush() {
    impl_->flush();
}
Bytes Connection::written() const {
    return impl_->written();
}
Bytes Connection::backlog() const {
    return impl_->backlog();
}

}  // namespace understudy::channel
