using System.CommandLine;
using System.Text.Encodings.Web;
using System.Text.Json;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>tokenize</c>: the token ids of a text.</summary>
internal static class TokenizeVerb
{
    public static Command Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "Model file or folder, or a GGUF that holds only a vocabulary" };
        var text = new Argument<string?>("TEXT") { Description = "The text; without it every line of stdin is one", Arity = ArgumentArity.ZeroOrOne };
        var idsOnly = new Option<bool>("--ids") { Description = "Print the ids alone, one text a line" };
        var specials = new Option<bool>("--specials") { Description = "Read <|turn> and the like as control tokens; otherwise they are text" };
        var verb = new Verb(
            "tokenize",
            "Prints the tokens of a text: id and piece",
            "gemma4edge tokenize deploy/demo-model \"turn on the light\"",
            "gemma4edge tokenize model.gguf --ids < lines.txt",
            "gemma4edge tokenize model.gguf --ids -- \"--a text that begins with dashes\"")
        {
            model, text, idsOnly, specials,
        };
        verb.SetAction(async (parsed, _) =>
        {
            GemmaTokenizer tokenizer = LoadedModel.OpenTokenizer(parsed.GetRequiredValue(model));
            List<int> ids = [];
            string? given = parsed.GetValue(text);
            string? line = given ?? await terminal.ReadLineAsync().ConfigureAwait(false);
            while (line is not null)
            {
                ids.Clear();
                tokenizer.Encode(line, parsed.GetValue(specials), ids);
                if (parsed.GetValue(idsOnly))
                {
                    terminal.Out.WriteLine(string.Join(' ', ids));
                }
                else
                {
                    WritePieces(terminal.Out, tokenizer, ids);
                }

                line = given is null ? await terminal.ReadLineAsync().ConfigureAwait(false) : null;
            }
        });
        return verb;
    }

    private static void WritePieces(TextWriter output, GemmaTokenizer tokenizer, List<int> ids)
    {
        foreach (int id in ids)
        {
            JsonEncodedText piece = JsonEncodedText.Encode(tokenizer.PieceText(id), JavaScriptEncoder.UnsafeRelaxedJsonEscaping);
            output.WriteLine($"{id,7}  \"{piece}\"");
        }
    }
}
