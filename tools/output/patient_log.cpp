#include "tools/output/patient_log.hpp"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>
#include <string_view>

#include "tools/output/patient_output.hpp"

namespace understudy::tools {
namespace {

class PatientSink final : public spdlog::sinks::base_sink<std::mutex> {
  public:
    explicit PatientSink(int fd) : output_(fd) {}

  private:
    void sink_it_(const spdlog::details::log_msg& message) override {
        spdlog::memory_buf_t line;
        formatter_->format(message, line);
        output_.write(std::string_view(line.data(), line.size()));
    }
    void flush_() override {}

    PatientOutput output_;
};

}  // namespace

void log_patiently(const std::string& name, int fd) {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>(name, std::make_shared<PatientSink>(fd)));
}

}  // namespace understudy::tools
