#include "tools/command/replica_options.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <utility>

#include "common/address.hpp"
#include "common/error.hpp"
#include "common/memory_keeper.hpp"
#include "common/tell.hpp"
#include "tools/command/guest_status.hpp"
#include "tools/output/event_writer.hpp"
#include "tools/output/milliseconds.hpp"
#include "tools/output/patient_log.hpp"
#include "tools/output/patient_output.hpp"
#include "tools/output/role_word.hpp"
#include "tools/process/exit_status.hpp"
#include "tools/vm/vm_description.hpp"

namespace understudy::tools {
namespace {

using replication::Role;

replication::ReplicaObserver make_observer(const std::shared_ptr<PatientOutput>& output, bool json) {
    const auto out = std::make_shared<EventWriter>(stdout, json ? EventWriter::Form::json : EventWriter::Form::text,
                                                   [output](std::string_view bytes) { output->write(bytes); });
    replication::ReplicaObserver observer;
    observer.on_listening = [out](const std::string& address) { out->write({"listening", {{"address", address}}}); };
    observer.on_role = [out](Role role, Generation generation, const std::string& reason) {
        out->write({"role", {{"role", role_word(role)}, {"generation", generation.value}, {"reason", reason}}});
    };
    observer.on_lag = [out](std::uint64_t records, std::chrono::nanoseconds behind) {
        out->write({"lag", {{"records", records}, {"ms", in_milliseconds(behind)}}});
    };
    observer.on_transfer = [out](Bytes done, Bytes total) {
        out->write({"transfer", {{"bytes_done", done.value}, {"bytes_total", total.value}}});
    };
    observer.on_transferred = [out](const replication::TransferFigures& figures) {
        out->write({"transferred",
                    {{"bytes_sent", figures.sent.value},
                     {"ms", in_milliseconds(figures.took)},
                     {"stood_still_ms", in_milliseconds(figures.stood_still)},
                     {"longest_wait_ms", in_milliseconds(figures.longest_wait)},
                     {"put_aside", figures.put_aside.value}}});
    };
    observer.on_log = [out](const replication::LogFigures& figures) {
        out->write({"log",
                    {{"records", figures.records},
                     {"copied", figures.copied},
                     {"bytes_sent", figures.sent.value},
                     {"guest_waited_ms", in_milliseconds(figures.guest_waited)}}});
    };
    observer.on_live = [out](Generation generation, std::chrono::nanoseconds takeover) {
        out->write({"live", {{"generation", generation.value}, {"takeover_ms", in_milliseconds(takeover)}}});
    };
    observer.on_first_words = [out](Generation generation, std::chrono::nanoseconds since_death) {
        out->write({"spoke", {{"generation", generation.value}, {"first_output_ms", in_milliseconds(since_death)}}});
    };
    observer.on_compared = [out](std::uint64_t stops, std::uint64_t divergences) {
        out->write({"compared", {{"stops", stops}, {"divergences", divergences}}});
    };
    observer.on_warning = [out](const std::string& line) { out->write({"warning", {{"message", line}}}); };
    observer.on_console = [out, output, json](std::string_view text) {
        if (json) {
            out->write({"console", {{"text", std::string(text)}}});
        } else {
            out->clear_progress();
            output->write(text);
        }
    };
    return observer;
}

}  // namespace

void set_digest_interval(replication::RecorderConfig& config, std::optional<std::uint64_t> milliseconds) {
    if (milliseconds) {
        config.memory_digest_interval = std::chrono::milliseconds(*milliseconds);
        config.memory_digest_window = {0};
    }
}

ReplicaOptions::ReplicaOptions(CLI::App& app) : transport_(app, "certificates/host-alpha"), sandbox_(app) {
    app.add_option("--arbiter", arbiter_, "The arbiter: raft://HOST:PORT,HOST:PORT,... or etcd://...")->required();
    app.add_option("--listen", listen_, "Where backups join this replica while it leads; port 0: any")
        ->capture_default_str();
    app.add_option("--suspicion", suspicion_ms_, "Milliseconds of silence after which the peer is taken for lost")
        ->check(CLI::Range(50, 60'000))
        ->capture_default_str();
    app.add_option("--digest-interval", digest_interval_ms_,
                   "Milliseconds of guest time between digests of all guest memory while this replica leads; 0: none "
                   "[4 MiB by 4 MiB, for a hundredth of the guest's time]");
    app.add_option("--put-aside", put_aside_,
                   "The most memory for what the guest changes while its state is sent to a backup, for example 256M; "
                   "beyond it the backup is dropped [half of what host and control group have to spare]");
    app.add_flag("--json", json_, "Events as JSON, one object a line");
}

replication::ReplicaConfig ReplicaOptions::config(const VmId& vm, const GuestFiles& files) {
    const Address listen = parse_address(listen_);
    replication::ReplicaConfig config;
    config.id = replication::make_replica_id();
    config.tls = transport_.credentials(tls::Role::host, true);
    if (config.tls) {
        if (const auto problem = tls::objection_to(config.tls->self(), tls::Role::host, vm); !problem.empty()) {
            throw Error(problem);
        }
    }
    config.arbiter = arbiter::parse_url(arbiter_, config.tls);
    config.listen_address = listen.host;
    config.listen_port = listen.port;
    config.suspicion = std::chrono::milliseconds(suspicion_ms_);
    if (!put_aside_.empty()) {
        config.snapshot.put_aside = parse_size(put_aside_);
    }
    set_digest_interval(config.recorder, digest_interval_ms_);
    std::signal(SIGPIPE, SIG_IGN);  // who reads the output may go; this replica stays
    keep_memory_past_end();         // so that the peer hears at once when this replica is killed
    sandbox::Walls walls = walls_for(files);
    walls.ports = {listen.port};
    sandbox_.enter_and_tell(std::move(walls));
    config.on_guest_thread = sandbox_.for_guest_thread();
    log_patiently("replica", STDERR_FILENO);
    config.observer = make_observer(std::make_shared<PatientOutput>(STDOUT_FILENO), json_);
    return config;
}

int exit_status_of(const replication::ReplicaResult& result) {
    using Reason = replication::action::Terminate::Reason;
    if (result.interrupted) {
        return kInterrupted;
    }
    if (!result.fault_report.empty()) {
        tell("{}", result.fault_report);
        throw Error("the guest broke");
    }
    switch (result.reason) {
        case Reason::guest_ended:
            return status_of_guest(result.exit_status);
        case Reason::deposed:
            tell("understudy: {}\n", result.explanation);
            return kDeposed;
        case Reason::transfer_incomplete:
        case Reason::never_formed:
            tell("understudy: {}\n", result.explanation);
            return kNotJoined;
        default:
            throw Error(result.explanation);
    }
}

}  // namespace understudy::tools
