#include "tools/vm/xml_element.hpp"

namespace understudy::tools {

std::string string_of(const xmlChar* text) {
    return text == nullptr ? std::string() : std::string(reinterpret_cast<const char*>(text));
}

std::string_view trim(std::string_view text) {
    constexpr std::string_view kBlank = " \t\r\n";
    const auto first = text.find_first_not_of(kBlank);
    return first == std::string_view::npos ? std::string_view{}
                                           : text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string name_of(const xmlNode* element) {
    return string_of(element->name);
}

std::string text_of(const xmlNode* element) {
    std::string text;
    for (const xmlNode* child = element->children; child != nullptr; child = child->next) {
        if (child->type == XML_TEXT_NODE || child->type == XML_CDATA_SECTION_NODE) {
            text += string_of(child->content);
        }
    }
    return std::string(trim(text));
}

std::optional<std::string> attribute(const xmlNode* element, std::string_view name) {
    for (const xmlAttr* it = element->properties; it != nullptr; it = it->next) {
        if (string_of(it->name) == name) {
            return it->children == nullptr ? std::string() : string_of(it->children->content);
        }
    }
    return std::nullopt;
}

}  // namespace understudy::tools
