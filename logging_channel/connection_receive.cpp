// What comes in over a Connection: read as it arrives, taken message by message, each in its turn or not at all.
#include <utility>

#include "common/bytes.hpp"
#include "logging_channel/connection_impl.hpp"

namespace understudy::channel {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;

}  // namespace

void Connection::Impl::read() {
    const auto space = reader_.space();
    reading_ = true;
    stream_.async_read_some(
        asio::buffer(space.data(), space.size()), [self = shared_from_this()](error_code error, std::size_t size) {
            self->reading_ = false;
            if (self->stage_ == Stage::closed) {
                return;
            }
            if (error) {
                const std::string strange = self->stage_ == Stage::greeting ? self->strange_bytes() : std::string();
                self->unfit_ = self->unfit_ || !strange.empty() || tls::is_refusal(error);
                return self->fail(!strange.empty()     ? strange
                                  : tls::is_end(error) ? self->end_without_words()
                                                       : self->stream_.describe(error));
            }
            if (self->stage_ == Stage::closing) {
                return self->take_nothing();
            }
            self->reader_.received(size);
            self->last_heard_ = std::chrono::steady_clock::now();
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
        const auto next = reader_.next();
        if (std::holds_alternative<MessageReader::NeedMore>(next)) {
            return read();
        }
        if (const auto* fault = std::get_if<MessageReader::Fault>(&next)) {
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
                if (!is_guest_time(GuestTime(begin.clock()))) {
                    return fail("the peer's state has an impossible clock");
                }
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
            if (handlers_.on_goodbye) {
                const auto& goodbye = message.goodbye();
                handlers_.on_goodbye({bounded_reason(goodbye.reason()), goodbye.exit_status(),
                                      goodbye.fault_report().substr(0, kMaxFaultReportBytes)});
            }
            return;
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
        record_decoder_ = RecordDecoder(*base_, {state_in_->progress().total});
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
        if (const auto* pages = std::get_if<DecodedPages>(&decoded)) {
            bytes = bytes.subspan(pages->size);
            received_ahead_.value += pages->size;
            continue;
        }
        auto& whole = std::get<DecodedRecord>(decoded);
        bytes = bytes.subspan(whole.size);
        records.push_back({std::move(whole.record), {std::exchange(received_ahead_.value, 0) + whole.size}});
    }
    if (handlers_.on_records && !records.empty()) {
        handlers_.on_records(std::move(records));
    }
}

}  // namespace understudy::channel
