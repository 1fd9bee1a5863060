using System.CommandLine;
using System.Text.Json;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>render</c>: the prompt that the chat template makes of each conversation.</summary>
internal static class RenderVerb
{
    public static Command Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "Model file or folder" };
        var data = new Argument<string>("DATA.jsonl") { Description = "One conversation a line: messages, tools, enable_thinking, preserve_thinking, add_generation_prompt" };
        var form = new ChoiceOption("--form", "auto", "Template form: small = E2B and E4B, big = 12B and up, auto = the model's own", "auto", "small", "big");
        var idsOnly = new Option<bool>("--ids") { Description = "Print token ids instead of text" };
        var verb = new Verb(
            "render",
            "Prints the prompt of each conversation, one JSON string a line",
            "gemma4edge render deploy/demo-model conversations.jsonl",
            "gemma4edge render deploy/demo-model conversations.jsonl --form big --ids")
        {
            model, data, form, idsOnly,
        };
        verb.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(model);
            using LoadedModel loaded = LoadedModel.Open(path);
            TemplateForm chosen = parsed.GetValue(form) switch
            {
                "small" => TemplateForm.Small,
                "big" => TemplateForm.Big,
                _ => loaded.TemplateForm,
            };
            GemmaTokenizer? tokenizer = parsed.GetValue(idsOnly) ? loaded.OpenTokenizer() : null;
            foreach (Conversation conversation in JsonLines.Read(parsed.GetRequiredValue(data), Conversation.Parse))
            {
                terminal.Interrupted.ThrowIfCancellationRequested();
                if (tokenizer is null)
                {
                    JsonOutput.Write(terminal.Out, json => json.WriteStringValue(ChatTemplate.RenderText(conversation, chosen)));
                }
                else
                {
                    terminal.Out.WriteLine(string.Join(' ', ChatTemplate.RenderIds(conversation, chosen, tokenizer)));
                }
            }
        });
        return verb;
    }
}
